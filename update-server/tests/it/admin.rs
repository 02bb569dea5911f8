use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request};
use payload_tools::format::Hash;
use serde_json::json;
use update_server::app::DEVICE_KEPT;
use update_server::serve::keep_up;
use update_server::store::ChannelChange;

use crate::publisher::{Publisher, Wanted, compatible, server_at};
use crate::server::{Caller, DEVICE, TestServer, until};

#[tokio::test]
async fn nothing_of_the_admin_api_works_without_the_token() {
    let (server, _) = server_at(1).await;
    let root = "00".repeat(32);
    for (method, path) in [
        (Method::GET, "channels".to_owned()),
        (Method::GET, "releases".to_owned()),
        (Method::GET, "devices".to_owned()),
        (Method::GET, format!("devices/{DEVICE}")),
        (Method::DELETE, format!("devices/{DEVICE}")),
        (Method::PUT, format!("devices/{DEVICE}/pin")),
        (Method::PUT, "channels/demo-x86_64/stable".to_owned()),
        (Method::PUT, format!("images/{root}/full")),
        (Method::PUT, format!("images/{root}/levels")),
        (Method::PUT, format!("targets/demo-x86_64/{root}.1.json")),
        (Method::POST, "metadata".to_owned()),
    ] {
        let path = format!("/v1/admin/{path}");
        let bare = server.call(Caller::Anyone, method.clone(), &path, Body::empty()).await;
        assert_eq!(bare.refused(), (401, "unauthorized".into()), "{path}");
        assert_eq!(bare.header("www-authenticate"), "Bearer");
        let forged = Request::builder().method(method).uri(&path);
        let forged = forged.header("authorization", format!("Bearer seesaw_{}", "0".repeat(64)));
        let forged = server.send(forged.body(Body::empty()).unwrap()).await;
        assert_eq!(forged.status, 401, "{path}");
    }
}

#[tokio::test]
async fn the_first_channel_is_the_default_until_another_is_made_it() {
    let (server, _) = server_at(2).await;
    let beta = "channels/demo-x86_64/beta";
    let view = server.admin_put(beta, json!({ "release": "1" })).await.ok().json();
    let expected = json!({
        "compatible": "demo-x86_64", "channel": "beta", "release": "1", "pin": null,
        "offer": "offered", "paused": false, "default": false
    });
    assert_eq!(view, expected);
    assert_eq!(server.check(1, json!({})).await["channel"], "stable");
    server.admin_put(beta, json!({ "default": true })).await.ok();
    assert_eq!(server.check(1, json!({})).await["channel"], "beta");
    let defaults = server.admin_get("channels").await.ok().json();
    let defaults = defaults.as_array().unwrap().iter().filter(|view| view["default"] == true);
    assert_eq!(defaults.count(), 1);
}

#[tokio::test]
async fn a_channel_cannot_offer_what_was_not_signed_for_it() {
    let (server, mut publisher) = server_at(1).await;
    let only_beta = Wanted { channels: &["beta"], ..Wanted::release(2) };
    publisher.publish(&server, &only_beta).await.ok();
    let stable = "channels/demo-x86_64/stable";
    for (path, change, refusal) in [
        (stable, json!({ "release": "2" }), (409, "not_signed_for_channel")),
        (stable, json!({ "pin": "2" }), (409, "not_signed_for_channel")),
        (stable, json!({ "release": "9" }), (404, "unknown_release")),
        ("channels/demo-x86_64/new", json!({ "paused": true }), (404, "no_channel")),
        (stable, json!({ "default": false }), (400, "bad_body")),
        (stable, json!({ "relaese": "1" }), (400, "bad_body")),
        ("channels/demo-x86_64/UPPER", json!({ "release": "1" }), (404, "not_found")),
    ] {
        let answer = server.admin_put(path, change.clone()).await;
        assert_eq!(answer.refused(), (refusal.0, refusal.1.to_owned()), "{path} {change}");
        assert!(!answer.text().contains("GET /v1"), "people have commands: {}", answer.text());
    }
    assert_eq!(server.admin_get("channels").await.json()[0]["release"], "1", "nothing changed");
}

#[tokio::test]
async fn a_channel_is_created_or_moved_as_the_operator_means_it() {
    let (server, _) = server_at(2).await;
    let (stable, nowhere) = ("channels/demo-x86_64/stable", "channels/demo-x86_64/beta");
    for (path, expect, refusal) in
        [(stable, "absent", (409, "channel_exists")), (nowhere, "present", (404, "no_channel"))]
    {
        let change = json!({ "expect": expect, "release": "1" });
        let answer = server.admin_put(path, change).await;
        assert_eq!(answer.refused(), (refusal.0, refusal.1.to_owned()), "{path}");
    }
    let standing = server.admin_get("channels").await.json();
    assert_eq!(standing.as_array().unwrap().len(), 1);
    assert_eq!(standing[0]["release"], "2", "nothing moved");
    server.admin_put(nowhere, json!({ "expect": "absent", "release": "1" })).await.ok();
    server.admin_put(nowhere, json!({ "expect": "present", "release": "2" })).await.ok();
    server.admin_put(nowhere, json!({ "release": "1" })).await.ok();
}

#[tokio::test]
async fn a_device_is_pinned_only_to_what_it_could_run() {
    let (server, _) = server_at(2).await;
    let pin = format!("devices/{DEVICE}/pin");
    let unseen = server.admin_put(&pin, json!({ "release": "1" })).await;
    assert_eq!(unseen.refused(), (404, "unknown_device".into()));
    server.check(1, json!({})).await;
    let view = server.admin_put(&pin, json!({ "release": "1" })).await.ok().json();
    assert_eq!((&view["pin"], &view["check"]["release"]), (&json!("1"), &json!("1")));
    let unknown = server.admin_put(&pin, json!({ "release": "9" })).await;
    assert_eq!(unknown.refused(), (404, "unknown_release".into()));
    assert_eq!(
        server.admin_put(&pin, json!({})).await.refused().0,
        400,
        "an empty body lifts nothing"
    );
    let server = server.restarted().await;
    assert_eq!(server.check(1, json!({})).await["detail"], "this device is pinned to 1");
}

#[tokio::test]
async fn every_device_is_on_one_page_of_the_list() {
    let server = TestServer::new().await;
    for n in 0..2100 {
        server.check(1, json!({ "device": format!("{n:032x}") })).await;
    }
    let (mut seen, mut query) = (Vec::new(), String::new());
    for expected in [1000, 1000, 100] {
        let page = server.admin_get(&format!("devices{query}")).await.ok().json();
        assert_eq!(page["total"], 2100);
        let devices = page["devices"].as_array().unwrap();
        assert_eq!(devices.len(), expected);
        seen.extend(devices.iter().map(|device| device["device"].clone().to_string()));
        let console = server.get(&format!("/{query}")).await.ok();
        assert!(console.text().contains(&format!("{expected} of 2100 shown")));
        query = page["before"].as_str().map_or_else(String::new, |at| format!("?before={at}"));
        assert_eq!(console.text().contains(&format!("href=\"/{query}\"")), !query.is_empty());
    }
    assert!(query.is_empty(), "{query}");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 2100);
    let garbled = server.admin_get("devices?before=yesterday").await;
    assert_eq!(garbled.refused(), (400, "bad_query".into()));
}

#[tokio::test]
async fn a_device_is_forgotten_with_its_events_and_its_pin() {
    let (server, _) = server_at(2).await;
    let path = format!("/v1/admin/devices/{DEVICE}");
    let forget = || server.call(Caller::Operator, Method::DELETE, &path, Body::empty());
    assert_eq!(forget().await.refused(), (404, "unknown_device".into()));
    server.check(1, json!({})).await;
    let event = json!({ "id": "00".repeat(16), "at": "2026-11-01T00:00:00Z", "kind": "seen" });
    let report = json!({ "device": DEVICE, "compatible": "demo-x86_64", "events": [event] });
    server.post("/v1/events", report).await.ok();
    server.admin_put(&format!("devices/{DEVICE}/pin"), json!({ "release": "1" })).await.ok();
    assert_eq!(forget().await.status, 204);
    assert_eq!(server.admin_get(&format!("devices/{DEVICE}")).await.status, 404);
    assert_eq!(server.check(1, json!({})).await["reason"], "channel", "no pin is left");
    let shown = server.admin_get(&format!("devices/{DEVICE}")).await.ok().json();
    assert_eq!(shown["events"], json!([]));
}

#[tokio::test]
async fn devices_that_are_gone_are_forgotten_unless_they_are_pinned() {
    let (server, _) = server_at(1).await;
    let id = |n: u32| format!("{n:032x}");
    for n in 0..250 {
        server.check(1, json!({ "device": id(n) })).await;
    }
    server.admin_put(&format!("devices/{}/pin", id(7)), json!({ "release": "1" })).await.ok();
    assert_eq!(server.app.forget_unseen(server.app.now()).await.unwrap(), 0);
    let later = server.app.now() + DEVICE_KEPT + jiff::SignedDuration::from_secs(60);
    assert_eq!(server.app.forget_unseen(later).await.unwrap(), 249);
    assert_eq!(server.admin_get(&format!("devices/{}", id(7))).await.ok().json()["pin"], "1");
    assert_eq!(server.admin_get(&format!("devices/{}", id(8))).await.status, 404);
}

#[tokio::test]
async fn a_change_is_heeded_although_the_operator_hangs_up() {
    let (server, _) = server_at(2).await;
    let reason = async || server.check(1, json!({})).await["reason"].clone();
    let put = |path: String, body| {
        let server = &server;
        async move {
            let path = format!("/v1/admin/{path}");
            server.call_and_hang_up(Method::PUT, &path, body).await;
        }
    };
    put("channels/demo-x86_64/stable".into(), json!({ "paused": true })).await;
    until("the channel is paused", async || reason().await == "paused").await;
    put(format!("devices/{DEVICE}/pin"), json!({ "release": "2" })).await;
    until("the device is pinned", async || reason().await == "device_pin").await;
}

#[tokio::test]
async fn a_change_that_was_not_read_back_is_heeded_soon() {
    let (server, _) = server_at(2).await;
    let app = &server.app;
    let (channel, paused) = ("stable".parse().unwrap(), Some(true));
    let change = ChannelChange { paused, ..ChannelChange::default() };
    app.store.change_channel(compatible(), channel, change, app.now()).await.unwrap();
    let reason = async || server.check(1, json!({})).await["reason"].clone();
    assert_eq!(reason().await, "channel", "nobody told the server in memory");
    let keeping_up = tokio::spawn(keep_up(Arc::clone(app)));
    until("the channel is paused", async || reason().await == "paused").await;
    keeping_up.abort();
}

#[tokio::test]
async fn an_upload_is_kept_whole_or_not_at_all() {
    let server = TestServer::new().await;
    let put = |path: &str, length: Option<usize>, body: &'static [u8]| {
        let mut request = Request::put(format!("/v1/admin/{path}"))
            .header("authorization", format!("Bearer {}", server.token));
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        server.send(request.body(Body::from(body)).unwrap())
    };
    let image = format!("images/{}/full", "11".repeat(32));
    assert_eq!(put(&image, Some(9), b"payload").await.refused(), (400, "cut_upload".into()));
    assert_eq!(put(&image, Some(5), b"payload").await.refused(), (400, "cut_upload".into()));
    assert_eq!(put(&image, None, b"payload").await.refused(), (411, "length_required".into()));
    let huge = put(&image, Some(1 << 40), b"payload").await;
    assert_eq!(huge.refused(), (413, "too_large".into()));
    assert_eq!(server.get(&format!("/v1/{image}")).await.status, 404);
    let left: Vec<_> =
        std::fs::read_dir(server.path().join("payloads/incoming")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_manifest_is_named_by_its_hash() {
    let server = TestServer::new().await;
    let name = |bytes: &[u8]| format!("targets/demo-x86_64/{}.1.json", Hash::of(bytes));
    let wrong = server.upload(&name(b"one"), b"another").await;
    assert_eq!(wrong.refused(), (400, "wrong_hash".into()));
    server.upload(&name(b"one"), b"one").await.ok();
    assert_eq!(server.get(&format!("/v1/{}", name(b"one"))).await.ok().text(), "one");
}

#[tokio::test]
async fn releases_are_listed_with_what_was_signed() {
    let server = TestServer::new().await;
    let mut publisher = Publisher::for_server(&server);
    publisher.publish(&server, &Wanted::release(7)).await.ok();
    let list = server.admin_get("releases").await.ok().json();
    let [release] = list.as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_eq!(release["release"], "7");
    assert_eq!(release["counter"], 7);
    assert_eq!(release["channels"], json!(["stable", "beta"]));
    assert_eq!(release["withdrawn_at"], json!(null));
}
