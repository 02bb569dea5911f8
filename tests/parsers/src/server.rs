use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use update_server::app::Settings;
use update_server::data_folder::DataFolder;
use update_server::router::router;
use update_server::serve;

use crate::input::{Input, put_piece};
use crate::{Outcomes, Parser};

/// Codes of errors, and the status of every other answer.
const OUTCOMES: &[&str] = &[
    "no request",
    "200",
    "204",
    "206",
    "400",
    "404",
    "405",
    "bad_body",
    "bad_query",
    "cut_upload",
    "length_required",
    "method_not_allowed",
    "not_found",
    "not_verified",
    "snapshot_moved",
    "too_large",
    "too_many",
    "unauthorized",
    "unknown_device",
    "unknown_release",
    "wrong_hash",
];

pub(crate) const PARSER: Parser =
    Parser { name: "server", run, outcomes: &[OUTCOMES], never: &[], seeds };

const METHODS: [Method; 6] =
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::PATCH];
/// With the operator's token.
const OPERATOR: u8 = 0x80;

/// A server in memory, called as a function; one for all inputs of a thread.
struct Server {
    runtime: Runtime,
    router: Router,
    token: String,
    _folder: TempDir,
}

thread_local! {
    static SERVER: Server = Server::new();
}

impl Server {
    fn new() -> Self {
        let owner = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().permissions(owner).tempdir_in("/dev/shm");
        let folder = folder.expect("there is memory");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("there is a runtime");
        let settings = Settings::default();
        let (token, app) = runtime.block_on(async {
            let data = DataFolder::at(folder.path());
            let made = data.init(None, jiff::Timestamp::now()).await.expect("init");
            (made.token, serve::open(&data, settings).await.expect("open"))
        });
        Self { runtime, router: router(Arc::new(app)), token, _folder: folder }
    }

    fn call(&self, request: Request<Body>) -> (StatusCode, Bytes) {
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("it never fails");
            let (parts, body) = response.into_parts();
            (parts.status, body.collect().await.expect("a body").to_bytes())
        })
    }
}

/// Method and caller, path and query, lines of headers, the body.
fn run(data: &[u8]) -> Outcomes {
    let mut input = Input::new(data);
    let mode = input.byte();
    let (path, headers, body) = (input.piece(), input.piece(), input.rest());
    let Ok(uri) = Uri::try_from(path) else { return vec!["no request".to_owned()] };
    SERVER.with(|server| {
        let mut request = Request::new(Body::from(body.to_vec()));
        *request.method_mut() = METHODS[usize::from(mode & 0x7f) % METHODS.len()].clone();
        *request.uri_mut() = uri;
        for line in headers.split(|&byte| byte == b'\n') {
            let mut parts = line.splitn(2, |&byte| byte == b':');
            let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii()))
            {
                request.headers_mut().append(name, value);
            }
        }
        if mode & OPERATOR != 0 {
            let bearer = format!("Bearer {}", server.token).parse().expect("a header");
            request.headers_mut().insert("authorization", bearer);
        }
        let (status, body) = server.call(request);
        assert!(!status.is_server_error(), "{status}: {}", String::from_utf8_lossy(&body));
        vec![outcome(status, &body)]
    })
}

fn outcome(status: StatusCode, body: &[u8]) -> String {
    let parsed = serde_json::from_slice::<serde_json::Value>(body);
    let code = parsed.ok().and_then(|body| body["error"]["code"].as_str().map(str::to_owned));
    code.unwrap_or_else(|| status.as_str().to_owned())
}

fn seeds() -> Vec<Vec<u8>> {
    let seed = |mode: u8, path: &str, headers: &str, body: &str| {
        let mut bytes = vec![mode];
        put_piece(path.as_bytes(), &mut bytes);
        put_piece(headers.as_bytes(), &mut bytes);
        bytes.extend(body.as_bytes());
        bytes
    };
    let (get, post, put, delete, patch) = (0, 1, OPERATOR | 2, OPERATOR | 3, 5);
    let root = "5a".repeat(32);
    let device = "00112233445566778899aabbccddeeff";
    let check = format!(
        r#"{{"device":"{device}","compatible":"demo","channel":"stable","slot":"A",
"release":"1","counter":1,"failed":["2"],"held":[],"staged":null,"manual":false}}"#
    );
    let many = vec!["\"2\""; 257].join(",");
    let event = format!(
        r#"{{"device":"{device}","events":[{{"id":"{device}","at":"2026-11-01T00:00:00Z",
"kind":"installed","release":"2","reason":null}}]}}"#
    );
    let levels = format!("/v1/admin/images/{root}/levels");
    let channel = r#"{"release":"2"}"#;
    let console = "sec-fetch-site: none\nif-none-match: \"x\"";
    vec![
        seed(get, "/", console, ""),
        seed(get, "/healthz", "", ""),
        seed(get, "/metrics", "", ""),
        seed(get, "/console.css", "", ""),
        seed(get, "/v1/metadata/timestamp.json", "", ""),
        seed(get, &format!("/v1/images/{root}/full"), "range: bytes=5-1", ""),
        seed(get, &format!("/v1/images/{root}/levels"), "range: bytes=0-", ""),
        seed(get, &format!("/v1/images/{root}/delta/{root}"), "", ""),
        seed(get, &format!("/v1/targets/demo/{root}.2.json"), "", ""),
        seed(get, "/v1/images/zz/full", "", ""),
        seed(get, "/%ff", "", ""),
        seed(get, "\u{1}", "", ""),
        seed(patch, "/v1/check", "", ""),
        seed(post, "/v1/check", "content-type: application/json", &check),
        seed(post, "/v1/check", "", &check.replace("\"2\"", &many)),
        seed(post, "/v1/check", "", "{"),
        seed(post, "/v1/check", "", &" ".repeat(300 << 10)),
        seed(post, "/v1/events", "", &event),
        seed(OPERATOR | get, "/v1/admin/releases", "", ""),
        seed(OPERATOR | get, "/v1/admin/channels", "", ""),
        seed(OPERATOR | get, "/v1/admin/devices?after=x&limit=1", "", ""),
        seed(OPERATOR | get, "/v1/admin/devices?limit=x", "", ""),
        seed(OPERATOR | get, &format!("/v1/admin/devices/{device}"), "", ""),
        seed(get, "/v1/admin/devices", "", ""),
        seed(put, &format!("/v1/admin/devices/{device}/pin"), "", channel),
        seed(put, &format!("/v1/admin/devices/{}/pin", "ff".repeat(16)), "", channel),
        seed(put, "/v1/admin/channels/demo/stable", "", channel),
        seed(put, &levels, "content-length: 4", "abcd"),
        seed(put, &levels, "", "abcd"),
        seed(put, "/v1/admin/targets/demo/x.json", "content-length: 1", "x"),
        seed(put, &format!("/v1/admin/targets/demo/{root}.2.json"), "content-length: 1", "x"),
        seed(OPERATOR | post, "/v1/admin/metadata", "", r#"{"files":{"1.root.json":"e30="}}"#),
        seed(OPERATOR | post, "/v1/admin/metadata", "", r#"{"files":{"1.root.json":"!"}}"#),
        seed(OPERATOR | post, "/v1/admin/metadata", "", r#"{"files":{"1.snapshot.json":"e30="}}"#),
        seed(delete, &format!("/v1/admin/devices/{device}"), "", ""),
    ]
}
