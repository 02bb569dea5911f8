//! A server in a temporary folder, called as a function.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use payload_tools::trust::PublicKey;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use update_server::app::{App, Settings};
use update_server::data_folder::DataFolder;
use update_server::router::router;
use update_server::serve;
use update_server::store::Room;

pub const DEVICE: &str = "00112233445566778899aabbccddeeff";

/// Who sends a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Anyone,
    Operator,
}

pub struct TestServer {
    folder: TempDir,
    pub token: String,
    pub timestamp_key: PublicKey,
    pub app: Arc<App>,
    router: Router,
}

pub fn private_folder() -> TempDir {
    let owner = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(owner).tempdir().unwrap()
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of an error; the body must be one.
    #[track_caller]
    pub fn refused(&self) -> (u16, String) {
        let body = self.json();
        let error = &body["error"];
        for key in ["message", "hint"] {
            assert!(error[key].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        }
        (self.status.as_u16(), error["code"].as_str().unwrap().to_owned())
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.is_success(), "{} {}", self.status, self.text());
        self
    }
}

impl TestServer {
    pub async fn new() -> Self {
        Self::with_room(Room::default()).await
    }

    /// One that keeps so many devices.
    pub async fn with_room(room: Room) -> Self {
        let folder = private_folder();
        let made = DataFolder::at(folder.path()).init(None, jiff::Timestamp::now()).await.unwrap();
        let timestamp_key = made.timestamp_key.parse().unwrap();
        let (app, router) = start(folder.path(), room).await;
        Self { folder, token: made.token, timestamp_key, app, router }
    }

    /// One on a folder that is complete.
    pub async fn of(folder: TempDir, token: String, timestamp_key: PublicKey) -> Self {
        let (app, router) = start(folder.path(), Room::default()).await;
        Self { folder, token, timestamp_key, app, router }
    }

    /// What a restart after a crash finds: nothing is handed over in memory.
    pub async fn restarted(self) -> Self {
        let Self { folder, token, timestamp_key, app, router } = self;
        drop((app, router));
        Self::of(folder, token, timestamp_key).await
    }

    /// Another machine that takes over with the key and this backup of the store.
    pub async fn restored(self, backup: &Path) -> Self {
        let Self { folder: lost, token, timestamp_key, .. } = self;
        let folder = private_folder();
        std::fs::copy(lost.path().join("timestamp.key"), folder.path().join("timestamp.key"))
            .unwrap();
        std::fs::copy(backup, folder.path().join("store.sqlite")).unwrap();
        std::fs::create_dir(folder.path().join("payloads")).unwrap();
        Self::of(folder, token, timestamp_key).await
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn call(&self, caller: Caller, method: Method, path: &str, body: Body) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if caller == Caller::Operator {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        self.send(request.body(body).unwrap()).await
    }

    /// Sends a request and hangs up once the server has begun with it.
    pub async fn call_and_hang_up(&self, method: Method, path: &str, body: Value) {
        let body = Body::from(body.to_string());
        let mut call = std::pin::pin!(self.call(Caller::Operator, method, path, body));
        // The token is looked up first; the change then runs as a task of its own.
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        loop {
            std::future::poll_fn(|cx| {
                assert!(call.as_mut().poll(cx).is_pending(), "it was answered at once");
                std::task::Poll::Ready(())
            })
            .await;
            if tasks() > before {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Caller::Anyone, Method::GET, path, Body::empty()).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Caller::Anyone, Method::POST, path, Body::from(body.to_string())).await
    }

    pub async fn admin_get(&self, path: &str) -> Answer {
        self.call(Caller::Operator, Method::GET, &format!("/v1/admin/{path}"), Body::empty()).await
    }

    pub async fn admin_put(&self, path: &str, body: Value) -> Answer {
        let path = format!("/v1/admin/{path}");
        self.call(Caller::Operator, Method::PUT, &path, Body::from(body.to_string())).await
    }

    pub async fn upload(&self, path: &str, bytes: &[u8]) -> Answer {
        let request = Request::put(format!("/v1/admin/{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-length", bytes.len());
        self.send(request.body(Body::from(bytes.to_vec())).unwrap()).await
    }

    /// A poll of [`DEVICE`], which runs release `counter`.
    pub async fn check(&self, counter: u64, more: Value) -> Value {
        let mut report = json!({
            "device": DEVICE, "compatible": "demo-x86_64", "channel": null, "slot": "A",
            "release": counter.to_string(), "counter": counter, "failed": [], "held": [],
            "staged": null, "manual": false
        });
        report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/v1/check", report).await.ok().json()
    }
}

/// Lets the server work until `condition` holds.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(30), holds).await;
    assert!(in_time.is_ok(), "in vain waited until {what}");
}

async fn start(folder: &Path, room: Room) -> (Arc<App>, Router) {
    let settings = Settings { room, ..Settings::default() };
    let app = Arc::new(serve::open(&DataFolder::at(folder), settings).await.unwrap());
    (Arc::clone(&app), router(app))
}
