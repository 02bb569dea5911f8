use axum::http::Method;
use serde_json::{Value, json};

use crate::server::{DEVICE, TestServer, until};

fn event(id: u8, at: &str, kind: &str, reason: Value) -> Value {
    json!({
        "id": format!("{id:032x}"), "at": at, "kind": kind, "release": "2", "slot": "B",
        "from": "1", "reason": reason
    })
}

async fn report(server: &TestServer, events: Value) {
    let body = json!({ "device": DEVICE, "compatible": "demo-x86_64", "events": events });
    let answer = server.post("/v1/events", body).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

async fn device(server: &TestServer) -> Value {
    server.admin_get(&format!("devices/{DEVICE}")).await.ok().json()
}

#[tokio::test]
async fn the_same_event_twice_is_one() {
    let server = TestServer::new().await;
    let staged = event(1, "2026-11-01T00:00:00Z", "staged", Value::Null);
    report(&server, json!([staged, staged])).await;
    report(&server, json!([staged, event(2, "2026-11-01T00:01:00Z", "activated", Value::Null)]))
        .await;
    let kinds: Vec<_> = device(&server).await["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["kind"].clone())
        .collect();
    assert_eq!(kinds, ["activated", "staged"]);
    let metrics = server.get("/metrics").await;
    assert!(metrics.text().contains("seesaw_events_total{kind=\"staged\"} 1\n"));
}

#[tokio::test]
async fn the_last_word_is_the_last_to_arrive_whatever_the_devices_clock_says() {
    let server = TestServer::new().await;
    let failed = "demo.service answered 500";
    let activated = event(1, "2099-01-01T00:00:00Z", "activated", Value::Null);
    report(&server, json!([activated])).await;
    let started = event(2, "1970-01-01T00:00:05Z", "trial_started", Value::Null);
    let health = event(3, "1970-01-01T00:00:01Z", "health_failed", json!(failed));
    report(&server, json!([started, health])).await;
    report(&server, json!([activated])).await;
    let shown = device(&server).await;
    let expected = json!({
        "at": "1970-01-01T00:00:01Z", "kind": "health_failed", "release": "2", "reason": failed
    });
    assert_eq!(shown["event"], expected, "what is repeated is no news");
    let events = shown["events"].as_array().unwrap().iter();
    let kinds: Vec<_> = events.map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["health_failed", "trial_started", "activated"]);
}

#[tokio::test]
async fn what_says_nothing_of_an_update_hides_no_word_that_does() {
    let server = TestServer::new().await;
    let at = "2026-11-01T00:00:00Z";
    for (id, kind, shown) in [
        (1, "seen", "seen"),
        (2, "pinned", "pinned"),
        (3, "fallback", "fallback"),
        (4, "unpinned", "fallback"),
        (5, "seen", "fallback"),
        (6, "activated", "activated"),
        (7, "newer_word", "newer_word"),
    ] {
        report(&server, json!([event(id, at, kind, Value::Null)])).await;
        assert_eq!(device(&server).await["event"]["kind"], shown, "after {kind}");
    }
}

#[tokio::test]
async fn an_acknowledged_event_is_there_after_a_restart() {
    let server = TestServer::new().await;
    report(&server, json!([event(1, "2026-11-01T00:00:00Z", "confirmed", Value::Null)])).await;
    let server = server.restarted().await;
    assert_eq!(device(&server).await["event"]["kind"], "confirmed");
}

/// Durable, and then never counted: the repeat is no news.
#[tokio::test]
async fn an_event_is_counted_although_the_device_hangs_up() {
    let server = TestServer::new().await;
    let fallback = event(1, "2026-11-01T00:00:00Z", "fallback", Value::Null);
    let body = json!({ "device": DEVICE, "compatible": "demo-x86_64", "events": [fallback] });
    server.call_and_hang_up(Method::POST, "/v1/events", body).await;
    until("the event is counted", async || {
        let metrics = server.get("/metrics").await;
        metrics.text().contains("seesaw_events_total{kind=\"fallback\"} 1\n")
    })
    .await;
    assert_eq!(device(&server).await["event"]["kind"], "fallback");
}

/// A device that is newer than the server is heard all the same: it would repeat for ever what is
/// refused, and everything behind it.
#[tokio::test]
async fn an_event_that_only_newer_devices_know_is_kept_and_counted() {
    let server = TestServer::new().await;
    let newer = event(1, "2026-11-01T00:00:00Z", "watchdog_bit", Value::Null);
    report(&server, json!([newer, event(2, "2026-11-01T00:00:00Z", "staged", Value::Null)])).await;
    let shown = device(&server).await;
    let events = shown["events"].as_array().unwrap().iter();
    let kinds: Vec<_> = events.map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["staged", "watchdog_bit"]);
    let metrics = server.get("/metrics").await;
    for line in ["{kind=\"other\"} 1\n", "{kind=\"staged\"} 1\n"] {
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }
    assert!(server.get("/").await.ok().text().contains("staged"));
}

#[tokio::test]
async fn a_report_is_taken_whole_or_not_at_all() {
    let server = TestServer::new().await;
    let good = event(1, "2026-11-01T00:00:00Z", "staged", Value::Null);
    let bad = event(2, "2026-11-01T00:00:00Z", "no word!", Value::Null);
    let body = json!({ "device": DEVICE, "compatible": "demo-x86_64", "events": [good, bad] });
    let answer = server.post("/v1/events", body).await;
    assert_eq!(answer.refused(), (400, "bad_body".to_owned()));
    assert_eq!(server.admin_get(&format!("devices/{DEVICE}")).await.status, 404);
}

#[tokio::test]
async fn the_newest_events_of_a_device_are_kept() {
    let server = TestServer::new().await;
    let batch = |first: u32| -> Value {
        let event = |n: u32| {
            let id = format!("{n:032x}");
            json!({ "id": id, "at": "2026-11-01T00:00:00Z", "kind": "seen" })
        };
        (first..first + 250).map(event).collect()
    };
    for first in [0, 250, 500, 750, 1000] {
        report(&server, batch(first)).await;
    }
    let db = rusqlite::Connection::open(server.path().join("store.sqlite")).unwrap();
    let kept = || {
        let sql = "SELECT count(*), min(event), max(event) FROM events";
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
    };
    let expected: (u32, String, String) = (1000, format!("{:032x}", 250), format!("{:032x}", 1249));
    assert_eq!(kept(), expected);
    report(&server, batch(1000)).await;
    assert_eq!(kept(), expected, "what is repeated is no news");
}

#[tokio::test]
async fn a_long_reason_is_cut_between_characters() {
    let server = TestServer::new().await;
    let reason = json!(format!("x{}", "é".repeat(4000)));
    report(&server, json!([event(1, "2026-11-01T00:00:00Z", "fallback", reason)])).await;
    let kept = device(&server).await["event"]["reason"].as_str().unwrap().len();
    assert_eq!(kept, 4095);
}
