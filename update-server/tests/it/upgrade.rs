//! What a server of the first schema kept is what this one serves.

use jiff::Timestamp;
use payload_tools::trust::{SigningKey, UnixTime};
use serde_json::{Value, json};
use update_server::api::admin::AdminToken;

use crate::publisher::{Publisher, Wanted, device_trusts, files};
use crate::server::{DEVICE, TestServer, private_folder};

const STORE: &str = include_str!("fixtures/store-1.sql");
/// A little later than what is in it: its metadata has not expired for ever.
const AT: &str = "2026-12-01T00:00:00Z";
const PINNED: &str = "ffeeddccbbaa99887766554433221100";

/// A server upgraded since then; its key and token are the ones of the store.
async fn upgraded() -> TestServer {
    let folder = private_folder();
    let path = |name: &str| folder.path().join(name);
    let key = SigningKey::from_seed(&[9; 32]);
    std::fs::write(path("timestamp.key"), key.to_pem().unwrap().as_bytes()).unwrap();
    std::fs::create_dir(path("payloads")).unwrap();
    let db = rusqlite::Connection::open(path("store.sqlite")).unwrap();
    db.execute_batch(STORE).unwrap();
    drop(db);
    let token = AdminToken::from_random(&[7; 32]);
    TestServer::of(folder, token.as_str().to_owned(), key.public().clone()).await
}

#[tokio::test]
async fn a_store_of_the_first_schema_has_lost_nothing() {
    let server = upgraded().await;
    let channels = server.admin_get("channels").await.ok().json();
    let channel = |name, pin: Option<&str>, paused, default| {
        json!({
            "compatible": "demo-x86_64", "channel": name, "release": "2", "pin": pin,
            "paused": paused, "default": default, "offer": "offered"
        })
    };
    let expected =
        json!([channel("beta", Some("1"), true, false), channel("stable", None, false, true)]);
    assert_eq!(channels, expected);
    let releases = server.admin_get("releases").await.ok().json();
    let counters: Vec<_> = releases.as_array().unwrap().iter().map(|r| &r["counter"]).collect();
    assert_eq!(counters, [2, 1]);
    let devices = server.admin_get("devices").await.ok().json();
    assert_eq!(devices["total"], 2);
    let pins: Vec<_> =
        devices["devices"].as_array().unwrap().iter().map(|device| &device["pin"]).collect();
    assert_eq!(pins, [&Value::Null, &json!("1")]);
    let shown = server.admin_get(&format!("devices/{DEVICE}")).await.ok().json();
    assert_eq!(shown["check"]["detail"], "2 failed its trial on this device");
    assert_eq!(shown["event"]["kind"], "health_failed");
    let kinds: Vec<_> = shown["events"].as_array().unwrap().iter().map(|e| &e["kind"]).collect();
    assert_eq!(kinds, ["health_failed", "seen"]);
    // And it decides as before.
    let pinned = server.check(2, json!({ "device": PINNED, "channel": "beta" })).await;
    assert_eq!((&pinned["reason"], &pinned["release"]), (&json!("device_pin"), &json!("1")));
    assert_eq!(server.check(1, json!({ "failed": ["2"] })).await["reason"], "failed_before");
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_published_to() {
    let server = upgraded().await;
    let at: Timestamp = AT.parse().unwrap();
    let stored = server.app.store.metadata_files().await.unwrap();
    let mut publisher = Publisher::resumed(&stored, 2, UnixTime::from(at));
    let app = &server.app;
    let fetch = async |path: String| {
        let answer = server.get(&format!("/v1/{path}")).await;
        (answer.status != 404).then(|| answer.ok().body.to_vec())
    };
    app.publisher.renew(&*app.store, || at).await.unwrap();
    assert_eq!(device_trusts(&publisher, fetch).await.releases().len(), 2);
    let three = Wanted::release(3);
    publisher.upload(&server, &three).await;
    let signed = files(&publisher.sign(&three));
    let published = app.publisher.publish(&*app.store, &app.payloads, &signed, || at).await;
    assert_eq!(published.unwrap(), 3);
    let trusted = device_trusts(&publisher, fetch).await;
    let counters: Vec<_> = trusted.releases().iter().map(|r| r.facts().counter).collect();
    assert_eq!(counters, [1, 2, 3]);
}
