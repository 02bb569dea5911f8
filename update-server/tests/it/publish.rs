use std::task::Poll;

use axum::http::Method;
use payload_tools::format::{Hash, Role};
use serde_json::{Value, json};

use crate::publisher::{Publisher, TestImage, Wanted, compatible, device_trusts, send, server_at};
use crate::server::{TestServer, until};

/// The timestamp's version, and the counters of the releases that a device trusts.
async fn device_sees(server: &TestServer, publisher: &Publisher) -> (u64, Vec<u64>) {
    let fetch = async |path: String| {
        let answer = server.get(&format!("/v1/{path}")).await;
        (answer.status != 404).then(|| answer.ok().body.to_vec())
    };
    let trusted = device_trusts(publisher, fetch).await;
    let counters = trusted.releases().iter().map(|release| release.facts().counter).collect();
    (timestamp(server).await["signed"]["version"].as_u64().unwrap(), counters)
}

async fn timestamp(server: &TestServer) -> Value {
    server.get("/v1/metadata/timestamp.json").await.ok().json()
}

#[tokio::test]
async fn what_was_published_is_what_a_device_verifies() {
    let (server, mut publisher) = server_at(1).await;
    let (first, counters) = device_sees(&server, &publisher).await;
    assert_eq!(counters, [1]);
    let answer = publisher.publish(&server, &Wanted::release(2)).await.ok().json();
    assert_eq!(answer, json!({ "snapshot": 2 }));
    let second = device_sees(&server, &publisher).await;
    assert!(second.0 > first && second.1 == [1, 2], "{first} {second:?}");
    let server = server.restarted().await;
    assert_eq!(device_sees(&server, &publisher).await, second);
    publisher.publish(&server, &Wanted::release(3)).await.ok();
    let third = device_sees(&server, &publisher).await;
    assert!(third.0 > second.0 && third.1 == [1, 2, 3], "{second:?} {third:?}");
}

#[tokio::test]
async fn the_timestamp_is_signed_again_for_two_more_days() {
    let (server, publisher) = server_at(1).await;
    let later = server.app.now() + jiff::SignedDuration::from_hours(30);
    server.app.publisher.renew(&*server.app.store, || later).await.unwrap();
    let signed = timestamp(&server).await["signed"].clone();
    assert_eq!(signed["version"], later.as_second());
    assert_eq!(signed["signed_at"], later.to_string());
    assert_eq!(signed["expires"], (later + jiff::SignedDuration::from_hours(48)).to_string());
    assert_eq!(device_sees(&server, &publisher).await.1, [1]);
}

/// A backup of the store knows nothing of the timestamps signed since.
#[tokio::test]
async fn a_restored_store_goes_on_above_what_devices_have_seen() {
    let (server, publisher) = server_at(1).await;
    let backup = server.path().join("backup.sqlite");
    let db = rusqlite::Connection::open(server.path().join("store.sqlite")).unwrap();
    db.execute("VACUUM INTO ?", [backup.to_str().unwrap()]).unwrap();
    drop(db);
    let at = |hours| server.app.now() + jiff::SignedDuration::from_hours(hours);
    for hours in 1..=3 {
        server.app.publisher.renew(&*server.app.store, || at(hours)).await.unwrap();
    }
    let (seen, _) = device_sees(&server, &publisher).await;
    let later = at(4);
    let server = server.restored(&backup).await;
    server.app.publisher.renew(&*server.app.store, || later).await.unwrap();
    let (found, counters) = device_sees(&server, &publisher).await;
    assert!(found > seen && counters == [1], "{found} after {seen}");
}

#[tokio::test]
async fn timestamps_count_up_although_the_clock_stands_still() {
    let (server, publisher) = server_at(1).await;
    let now = server.app.now() - jiff::SignedDuration::from_hours(1);
    let (before, _) = device_sees(&server, &publisher).await;
    server.app.publisher.renew(&*server.app.store, || now).await.unwrap();
    assert_eq!(timestamp(&server).await["signed"]["version"], before + 1);
}

#[tokio::test]
async fn of_two_publishers_at_once_one_is_told_to_go_on_from_the_other() {
    let (server, mut first) = server_at(1).await;
    let mut second = first.colleague();
    let (two, three) = (Wanted::release(2), Wanted::release(3));
    first.upload(&server, &two).await;
    second.upload(&server, &three).await;
    let bodies = (first.sign(&two), second.sign(&three));
    let answers = tokio::join!(send(&server, &bodies.0), send(&server, &bodies.1));
    let mut statuses = [answers.0.status.as_u16(), answers.1.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let (refused, mut winner, loser_wants) = match answers.0.status.as_u16() {
        409 => (answers.0, second, two),
        _ => (answers.1, first, three),
    };
    assert_eq!(refused.refused().1, "snapshot_moved");
    winner.taken();
    assert_eq!(device_sees(&server, &winner).await.1.len(), 2);
    let mut again = winner.colleague();
    again.publish(&server, &loser_wants).await.ok();
    assert_eq!(device_sees(&server, &again).await.1, [1, 2, 3]);
}

/// Drops a publication after its commit and before it is known in memory.
async fn publish_and_forget(server: &TestServer, body: &Value, snapshot: u64) {
    let files = crate::publisher::files(body);
    let app = &server.app;
    let mut publication =
        Box::pin(app.publisher.publish(&*app.store, &app.payloads, &files, || app.now()));
    loop {
        let polled = std::future::poll_fn(|cx| Poll::Ready(publication.as_mut().poll(cx))).await;
        assert!(polled.is_pending(), "it must not be answered: {polled:?}");
        // Commits come one after the other: what was queued before is then durable.
        app.store.probe(app.now()).await.unwrap();
        if app.store.repository().await.unwrap().unwrap().snapshot_version == snapshot {
            return;
        }
    }
}

#[tokio::test]
async fn a_publication_whose_answer_is_lost_is_never_rolled_back() {
    let (server, mut publisher) = server_at(1).await;
    let two = Wanted::release(2);
    publisher.upload(&server, &two).await;
    publish_and_forget(&server, &publisher.sign(&two), 2).await;
    publisher.taken();
    server.app.publisher.renew(&*server.app.store, || server.app.now()).await.unwrap();
    assert_eq!(device_sees(&server, &publisher).await.1, [1, 2]);

    let three = Wanted::release(3);
    publisher.upload(&server, &three).await;
    publish_and_forget(&server, &publisher.sign(&three), 3).await;
    publisher.taken();
    publisher.publish(&server, &Wanted::release(4)).await.ok();
    assert_eq!(device_sees(&server, &publisher).await.1, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_publisher_who_hangs_up_has_published() {
    let (server, mut publisher) = server_at(1).await;
    let two = Wanted::release(2);
    publisher.upload(&server, &two).await;
    let body = publisher.sign(&two);
    server.call_and_hang_up(Method::POST, "/v1/admin/metadata", body).await;
    until("release 2 may be promoted", async || {
        let policy = server.app.policy();
        policy.compatibles[&compatible()].offers.contains_key(&"2".parse().unwrap())
    })
    .await;
    assert_eq!(device_sees(&server, &publisher).await.1, [1, 2]);
}

#[tokio::test]
async fn a_publication_whose_payload_is_not_there_is_refused() {
    let (server, mut publisher) = server_at(1).await;
    let two = Wanted::release(2);
    let before = timestamp(&server).await;
    let body = publisher.sign(&two);
    let answer = send(&server, &body).await;
    assert_eq!(answer.refused(), (422, "missing_payload".into()));
    publisher.upload(&server, &two).await;
    let root = two.image(Role::Root).image.root;
    std::fs::remove_file(server.path().join(format!("payloads/images/{root}/levels"))).unwrap();
    let answer = send(&server, &body).await;
    assert!(answer.text().contains(&format!("images/{root}/levels is not uploaded")));
    assert_eq!(timestamp(&server).await, before, "devices see what they saw");
    publisher.upload(&server, &two).await;
    send(&server, &body).await.ok();
}

/// Uploads this in place of a good file; publishing is refused until the good one is there again.
async fn refused_while_damaged(path: &str, good: &[u8], bad: &[u8], says: &str) {
    let (server, mut publisher) = server_at(1).await;
    let two = Wanted::release(2);
    publisher.upload(&server, &two).await;
    let body = publisher.sign(&two);
    let etag = async || server.get(&format!("/v1/{path}")).await.ok().header("etag").to_owned();
    let quoted = |bytes| format!("\"{}\"", Hash::of(bytes));
    assert_eq!(etag().await, quoted(good));
    server.upload(path, bad).await.ok();
    assert_eq!(etag().await, quoted(bad));
    let answer = send(&server, &body).await;
    assert_eq!(answer.refused(), (422, "damaged_payload".into()), "{}", answer.text());
    assert!(answer.text().contains(path) && answer.text().contains(says), "{}", answer.text());
    assert_ne!(etag().await, quoted(bad), "it would not be uploaded again");
    server.upload(path, good).await.ok();
    send(&server, &body).await.ok();
}

#[tokio::test]
async fn levels_that_do_not_chain_to_the_root_are_not_published() {
    let TestImage { image, levels, .. } = Wanted::release(2).image(Role::Root);
    let path = format!("images/{}/levels", image.root);
    let mut bad = levels.clone();
    bad[5] ^= 1;
    refused_while_damaged(&path, &levels, &bad, "do not chain to the root").await;
    refused_while_damaged(&path, &levels, b"", "have 0 bytes").await;
}

#[tokio::test]
async fn a_payload_of_another_image_is_not_published() {
    let TestImage { image, full, .. } = Wanted::release(2).image(Role::Root);
    let path = format!("images/{}/full", image.root);
    let other = Wanted::release(2).image(Role::Kernel).full;
    refused_while_damaged(&path, &full, &other, "holds 4096 bytes of the image").await;
    refused_while_damaged(&path, &full, &full[1..], "the file has").await;
    refused_while_damaged(&path, &full, b"x", "seek table has 1 bytes").await;
}

#[tokio::test]
async fn what_does_not_verify_is_refused_whole() {
    let (server, mut publisher) = server_at(1).await;
    let two = Wanted::release(2);
    publisher.upload(&server, &two).await;
    let good = publisher.sign(&two);
    let without = |name: &str| {
        let mut body = good.clone();
        body["files"].as_object_mut().unwrap().remove(name).unwrap();
        body
    };
    let mut forged = Publisher::with_timestamp_key(&server.timestamp_key);
    forged.sign_snapshot();
    forged.taken();
    let forged = forged.sign_snapshot();
    let mut torn = without("3.demo-x86_64.json");
    torn["files"]["3.demo-x86_64.json"] = good["files"]["2.snapshot.json"].clone();
    let mut stray = good.clone();
    stray["files"]["../../timestamp.key"] = json!("AAAA");
    let mut garbled = good.clone();
    garbled["files"]["2.snapshot.json"] = json!("not base64!");
    let before = timestamp(&server).await;
    for (body, refusal) in [
        (without("2.snapshot.json"), (409, "snapshot_moved")),
        (without("3.demo-x86_64.json"), (422, "not_verified")),
        (forged, (422, "not_verified")),
        (torn, (422, "not_verified")),
        (stray, (422, "not_verified")),
        (garbled, (400, "bad_body")),
        (json!({ "files": {} }), (409, "snapshot_moved")),
    ] {
        let answer = send(&server, &body).await;
        assert_eq!(answer.refused(), (refusal.0, refusal.1.to_owned()), "{}", answer.text());
    }
    assert_eq!(timestamp(&server).await, before);
    assert_eq!(server.get("/v1/metadata/3.demo-x86_64.json").await.status, 404);
    send(&server, &good).await.ok();
}

#[tokio::test]
async fn a_root_for_another_server_is_refused() {
    let (server, other) = (TestServer::new().await, TestServer::new().await);
    let mut publisher = Publisher::for_server(&other);
    let answer = publisher.publish(&server, &Wanted::release(1)).await;
    assert_eq!(answer.refused(), (422, "not_verified".into()));
    assert!(answer.text().contains("payload init"), "{}", answer.text());
}
