use serde_json::json;

use crate::publisher::{Wanted, server_at};
use crate::server::{DEVICE, TestServer};

#[tokio::test]
async fn a_device_is_told_what_its_channel_says_and_why() {
    let (server, _) = server_at(2).await;
    let answer = server.check(1, json!({})).await;
    let grant = answer["grant"].as_str().unwrap();
    assert_eq!(grant.len(), 32, "{grant}");
    let expected = json!({
        "action": "update", "reason": "channel", "detail": "stable is at 2", "release": "2",
        "counter": 2, "channel": "stable", "grant": grant, "poll_seconds": 300
    });
    assert_eq!(answer, expected);
    let answer = server.check(2, json!({})).await;
    let expected = json!({
        "action": "none", "reason": "up_to_date", "detail": "stable is at 2", "release": "2",
        "counter": null, "channel": "stable", "grant": null, "poll_seconds": 300
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn the_next_poll_heeds_what_an_operator_changed() {
    let (server, mut publisher) = server_at(2).await;
    let stable = "channels/demo-x86_64/stable";
    let pin = format!("devices/{DEVICE}/pin");
    server.check(1, json!({})).await;
    for (path, change, counter, reason) in [
        (stable, json!({ "paused": true }), 1, "paused"),
        (stable, json!({ "paused": false, "pin": "1" }), 2, "channel_pin"),
        (pin.as_str(), json!({ "release": "2" }), 1, "device_pin"),
        (pin.as_str(), json!({ "release": null }), 1, "up_to_date"),
        (stable, json!({ "pin": null }), 1, "channel"),
    ] {
        server.admin_put(path, change.clone()).await.ok();
        assert_eq!(server.check(counter, json!({})).await["reason"], reason, "{change}");
    }
    publisher.publish(&server, &Wanted::release(3)).await.ok();
    assert_eq!(server.check(1, json!({})).await["release"], "2", "publishing does not promote");
    server.admin_put(stable, json!({ "release": "3" })).await.ok();
    assert_eq!(server.check(1, json!({})).await["release"], "3");
}

#[tokio::test]
async fn held_and_failed_releases_are_not_offered_again() {
    let (server, _) = server_at(2).await;
    assert_eq!(server.check(1, json!({ "held": ["2"] })).await["reason"], "held");
    assert_eq!(server.check(1, json!({ "held": ["2"], "manual": true })).await["action"], "update");
    assert_eq!(server.check(1, json!({ "failed": ["2"] })).await["reason"], "failed_before");
}

#[tokio::test]
async fn a_report_that_makes_no_sense_is_refused() {
    let server = TestServer::new().await;
    let many = vec!["1"; 300];
    for (report, code) in [
        (json!({}), "bad_body"),
        (json!({ "device": "../etc", "compatible": "a", "slot": "A", "counter": 1 }), "bad_body"),
        (json!({ "device": DEVICE, "compatible": "a", "slot": "C", "counter": 1 }), "bad_body"),
        (json!({ "device": DEVICE, "compatible": "a", "slot": "A", "counter": -1 }), "bad_body"),
        (
            json!({ "device": DEVICE, "compatible": "a", "slot": "A", "counter": 1, "held": many }),
            "too_many",
        ),
    ] {
        let answer = server.post("/v1/check", report).await;
        assert_eq!(answer.refused(), (400, code.to_owned()));
    }
    let answer = server.post("/v1/check", json!("x".repeat(300 << 10))).await;
    assert_eq!(answer.refused(), (413, "too_large".to_owned()));
}

/// Devices may be newer than the server, and may not know what they run.
#[tokio::test]
async fn unknown_keys_and_an_unnamed_release_are_no_fault() {
    let (server, _) = server_at(2).await;
    let more = json!({ "release": null, "counter": 0, "battery": "87 %" });
    assert_eq!(server.check(1, more).await["action"], "update");
}
