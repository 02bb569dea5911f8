//! Disks that are full, cannot be written or are held by somebody else; requests that are too large
//! or none at all.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::served::{Served, http, program, served_folder, text};
use crate::server::{Caller, DEVICE, TestServer};

const MANIFEST: &str = "targets/demo-x86_64";

fn image(n: u8) -> String {
    format!("images/{}/full", hex::encode([n; 32]))
}

/// Uploads so many bytes; the status, and the code of an error.
async fn upload(served: &Served, path: &str, bytes: usize) -> (u16, Value) {
    let put = http().put(format!("{}/v1/admin/{path}", served.url)).bearer_auth(served.token());
    let answer = put.body(vec![7; bytes]).send().await.unwrap();
    let (status, body) = (answer.status().as_u16(), answer.bytes().await.unwrap());
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, body["error"]["code"].clone())
}

async fn download(served: &Served, path: &str) -> Vec<u8> {
    let answer = http().get(format!("{}/v1/{path}", served.url)).send().await.unwrap();
    answer.error_for_status().unwrap().bytes().await.unwrap().to_vec()
}

/// Reports one event with a reason of so many bytes; the status of the answer.
async fn report(served: &Served, n: u32, reason: usize) -> u16 {
    let event = json!({
        "id": format!("{n:032x}"), "at": "2026-11-01T00:00:00Z", "kind": "fallback",
        "reason": "x".repeat(reason)
    });
    let body = json!({ "device": DEVICE, "compatible": "demo", "events": [event] });
    let post = http().post(format!("{}/v1/events", served.url)).json(&body);
    post.send().await.unwrap().status().as_u16()
}

/// How many events of the device are stored.
async fn stored(served: &Served) -> usize {
    let get = http().get(format!("{}/v1/admin/devices/{DEVICE}", served.url));
    let shown = get.bearer_auth(served.token()).send().await.unwrap();
    let shown: Value = shown.error_for_status().unwrap().json().await.unwrap();
    shown["events"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_payload_folder_takes_no_upload_and_is_served_from() {
    let folder = served_folder();
    let payloads = folder.path().join("data/payloads");
    let mount = format!("mount -t tmpfs -o size=512k tmpfs '{}'", payloads.display());
    let served = Served::start_among(&mount, folder.path());
    assert_eq!(upload(&served, &image(1), 200 << 10).await.0, 204);
    assert_eq!(upload(&served, &image(2), 1 << 20).await, (507, json!("no_space")));
    let inside = format!("/proc/{}/root{}", served.child.id(), payloads.display());
    let left = std::fs::read_dir(format!("{inside}/incoming")).unwrap().count();
    assert_eq!(left, 0, "what found no room makes none for others");
    assert!(download(&served, &image(1)).await == vec![7; 200 << 10]);
    assert_eq!(report(&served, 1, 10).await, 204);
    assert_eq!(upload(&served, &image(2), 200 << 10).await.0, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_folder_that_cannot_be_written_is_served_from() {
    let folder = served_folder();
    let served = Served::start(folder.path());
    assert_eq!(upload(&served, &image(1), 100).await.0, 204);
    drop(served);
    let payloads = folder.path().join("data/payloads");
    assert!(payloads.join("incoming").exists(), "there is something to sweep");
    let path = payloads.display();
    let mount = format!("mount --bind '{path}' '{path}' && mount -o remount,bind,ro '{path}'");
    let served = Served::start_among(&mount, folder.path());
    assert_eq!(upload(&served, &image(2), 100).await, (503, json!("unavailable")));
    assert!(download(&served, &image(1)).await == vec![7; 100]);
    assert_eq!(report(&served, 1, 10).await, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_grow_acknowledges_nothing_and_loses_nothing() {
    let folder = served_folder();
    // In units of 512 bytes; without the trap the system would end the process.
    let mut served = Served::start_under("trap '' XFSZ && ulimit -f 1024", folder.path());
    let mut acknowledged = 0;
    while report(&served, acknowledged, 4096).await == 204 {
        acknowledged += 1;
        assert!(acknowledged < 150, "there is no limit");
    }
    assert!(acknowledged > 10, "{acknowledged}");
    assert_eq!(report(&served, acknowledged, 4096).await, 503);
    let check = json!({
        "device": DEVICE, "compatible": "demo", "slot": "A", "release": "1", "counter": 1
    });
    let check = http().post(format!("{}/v1/check", served.url)).json(&check).send().await;
    assert_eq!(check.unwrap().status(), 200, "devices are answered all the same");
    served.kill();
    let served = Served::start(folder.path());
    assert_eq!(stored(&served).await, acknowledged as usize);
    assert_eq!(report(&served, acknowledged, 4096).await, 204, "what was refused is taken now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_store_is_waited_for_but_not_for_ever() {
    let folder = served_folder();
    let served = Served::start(folder.path());
    assert_eq!(report(&served, 1, 10).await, 204);
    let data = folder.path().join("data");
    let somebody = rusqlite::Connection::open(data.join("store.sqlite")).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    let add = tokio::task::spawn_blocking(move || {
        program().args(["token", "add", "ann", "--data"]).arg(data).output().unwrap()
    });
    assert_eq!(report(&served, 2, 10).await, 503);
    let add = add.await.unwrap();
    assert_eq!(add.status.code(), Some(1));
    let said = text(&add.stderr);
    let expected =
        "error: the store cannot commit; nothing was recorded\n  because: database is locked";
    assert!(said.starts_with(expected), "{said}");
    // For less long, and nobody notices.
    let waiting = async { report(&served, 3, 10).await };
    let letting_go = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        somebody.execute_batch("ROLLBACK").unwrap();
    };
    assert_eq!(tokio::join!(waiting, letting_go).0, 204);
    assert_eq!(stored(&served).await, 2);
}

#[tokio::test]
async fn what_is_larger_than_its_kind_can_be_is_refused_unread() {
    let server = TestServer::new().await;
    let kinds = [
        (format!("images/{}/full", "11".repeat(32)), 64 << 30),
        (format!("images/{}/levels", "11".repeat(32)), 8 << 20),
        (format!("{MANIFEST}/{}.1.json", "11".repeat(32)), 1 << 20),
    ];
    for (path, most) in kinds {
        let request = Request::put(format!("/v1/admin/{path}"))
            .header("authorization", format!("Bearer {}", server.token))
            .header("content-length", most + 1_u64);
        let answer = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.refused(), (413, "too_large".into()), "{path}");
    }
    let large = Body::from(vec![b' '; (16 << 20) + 1]);
    let answer = server.call(Caller::Operator, Method::POST, "/v1/admin/metadata", large).await;
    assert_eq!(answer.refused(), (413, "too_large".into()));
    let event = json!({ "id": "00".repeat(16), "at": "2026-11-01T00:00:00Z", "kind": "seen" });
    let report = |events: Value| json!({ "device": DEVICE, "compatible": "a", "events": events });
    let answer = server.post("/v1/events", report(vec![event; 257].into())).await;
    assert_eq!(answer.refused(), (400, "too_many".into()));
    let answer = server.post("/v1/events", report("x".repeat(257 << 10).into())).await;
    assert_eq!(answer.refused(), (413, "too_large".into()));
    assert_eq!(server.admin_get(&format!("devices/{DEVICE}")).await.status, 404);
}

/// What the server says to these bytes; nothing if it hangs up.
fn says_to(served: &Served, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(served.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // It may hang up before everything is sent, and lets fall what it said then.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    text(&said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_sent_away_and_the_next_is_answered() {
    let folder = served_folder();
    let served = Served::start(folder.path());
    let head =
        |rest: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{rest}\r\n\r\n").into_bytes();
    let post = |rest: &str, body: &[u8]| {
        let head =
            format!("POST /v1/check HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{rest}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let rows: [(&str, Vec<u8>, &str); 8] = [
        (
            "a TLS greeting",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            "HTTP/1.1 400",
        ),
        ("noise", (0..4096_u32).map(|n| (n * 97 % 251) as u8).collect(), "HTTP/1.1 400"),
        ("a head without end", head(&format!("X: {}", "x".repeat(1 << 20))), "HTTP/1.1 4"),
        ("many headers", head(&"X: x\r\n".repeat(5000)), "HTTP/1.1 4"),
        ("two lengths", post("Content-Length: 2\r\nContent-Length: 3", b"{}"), "HTTP/1.1 400"),
        ("no length", post("Content-Length: -1", b"{}"), "HTTP/1.1 400"),
        ("a cut body", post("Content-Length: 100", b"{"), "HTTP/1.1 400"),
        ("no text", post("Content-Length: 2", b"\xff\xfe"), "HTTP/1.1 400"),
    ];
    for (what, bytes, expected) in rows {
        let said = says_to(&served, &bytes);
        assert!(said.is_empty() || said.starts_with(expected), "{what}: {said}");
        assert_eq!(download(&served, "../healthz").await, b"ok\n", "after {what}");
    }
}
