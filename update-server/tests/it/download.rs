use axum::body::Body;
use axum::http::Method;
use payload_tools::format::delta::{Head, Kind};
use payload_tools::format::{Hash, Role};

use crate::publisher::{Wanted, server_at};
use crate::server::{Caller, TestServer};

const ROOT: &str = "images/00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

async fn server_with(payload: &[u8]) -> TestServer {
    let server = TestServer::new().await;
    server.upload(&format!("{ROOT}/full"), payload).await.ok();
    server
}

#[tokio::test]
async fn a_payload_comes_whole_or_in_the_part_that_was_asked_for() {
    // Longer than one read, so that parts cross the reader's pieces.
    let payload: Vec<u8> = (0..300_000u32).map(|i| (i / 7) as u8).collect();
    let server = server_with(&payload).await;
    let path = format!("/v1/{ROOT}/full");
    let whole = server.get(&path).await.ok();
    assert!(whole.body == payload);
    assert_eq!(whole.header("content-length"), "300000");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("cache-control"), "no-cache", "it may be uploaded again");
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=100000-299999", 100_000..300_000),
        ("bytes=299990-", 299_990..300_000),
        ("bytes=-131073", 168_927..300_000),
    ] {
        let part = server.get_with(&path, &[("range", range)]).await;
        assert_eq!(part.status, 206, "{range}");
        let says = format!("bytes {}-{}/300000", expected.start, expected.end - 1);
        assert_eq!(part.header("content-range"), says);
        assert!(part.body == payload[expected], "{range}");
    }
    let outside = server.get_with(&path, &[("range", "bytes=300000-")]).await;
    assert_eq!((outside.status.as_u16(), outside.header("content-range")), (416, "bytes */300000"));
    let many = server.get_with(&path, &[("range", "bytes=0-1,5-6")]).await;
    assert_eq!((many.status.as_u16(), many.body.len()), (200, 300_000));
}

#[tokio::test]
async fn head_says_what_get_would_without_the_bytes() {
    let server = server_with(b"payload").await;
    let path = format!("/v1/{ROOT}/full");
    let got = server.get(&path).await.ok();
    let head = server.call(Caller::Anyone, Method::HEAD, &path, Body::empty()).await.ok();
    assert!(head.body.is_empty());
    for name in ["content-length", "etag", "content-type", "cache-control"] {
        assert_eq!(head.header(name), got.header(name));
    }
    let missing = format!("/v1/{ROOT}/levels");
    let head = server.call(Caller::Anyone, Method::HEAD, &missing, Body::empty()).await;
    assert_eq!(head.status, 404);
}

/// What a publisher compares before it uploads.
#[tokio::test]
async fn the_etag_of_an_image_is_the_sha256_of_what_was_uploaded() {
    let server = server_with(b"payload").await;
    let path = format!("/v1/{ROOT}/full");
    let sha256 = format!("\"{}\"", Hash::of(b"payload"));
    let head = server.call(Caller::Anyone, Method::HEAD, &path, Body::empty()).await.ok();
    assert_eq!(head.header("etag"), sha256);
    let server = server.restarted().await;
    assert_eq!(server.get(&path).await.ok().header("etag"), sha256);
    // Damaged in its place, or put back from a backup: nobody knows what it is now.
    let stored = server.path().join(format!("payloads/{ROOT}/full"));
    std::fs::write(&stored, b"payloaX").unwrap();
    assert_ne!(server.get(&path).await.ok().header("etag"), sha256);
    server.upload(&format!("{ROOT}/full"), b"payload").await.ok();
    assert_eq!(server.get(&path).await.ok().header("etag"), sha256);
}

#[tokio::test]
async fn a_delta_is_kept_under_the_names_of_its_images_alone() {
    let server = TestServer::new().await;
    let (from, to) = (Hash::of(b"old"), Hash::of(b"new"));
    let mut delta = Head::encode((&from, 4096), (&to, 4096), &[(Kind::Zstd, 5)]);
    delta.extend(b"frame");
    let path = format!("images/{to}/delta/{from}");
    assert_eq!(server.get(&format!("/v1/{path}")).await.status, 404);
    let other_way = format!("images/{from}/delta/{to}");
    for (path, bytes) in [
        (&other_way, delta.clone()),
        (&path, delta[..delta.len() - 1].to_vec()),
        (&path, delta[..40].to_vec()),
        (&path, b"no delta".repeat(20)),
    ] {
        let refused = server.upload(path, &bytes).await.refused();
        assert_eq!(refused, (422, "damaged_payload".into()), "{path}, {} bytes", bytes.len());
        assert_eq!(server.get(&format!("/v1/{path}")).await.status, 404, "it is not kept");
    }
    server.upload(&path, &delta).await.ok();
    let part = server.get_with(&format!("/v1/{path}"), &[("range", "bytes=0-87")]).await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &delta[..88]));
    let etag = format!("\"{}\"", Hash::of(&delta));
    let whole = server.get(&format!("/v1/{path}")).await.ok();
    assert_eq!((whole.header("etag"), whole.header("cache-control")), (&*etag, "no-cache"));
    // Its own name is no image's.
    assert_eq!(server.get(&format!("/v1/{path}.sha256")).await.status, 404);
}

#[tokio::test]
async fn a_part_is_never_glued_to_another_version() {
    let server = server_with(b"first version").await;
    let path = format!("/v1/{ROOT}/full");
    let old = server.get(&path).await.ok().header("etag").to_owned();
    let part = server.get_with(&path, &[("range", "bytes=6-"), ("if-range", &old)]).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "version"));
    let same = server.get_with(&path, &[("if-none-match", &old)]).await;
    assert_eq!((same.status.as_u16(), same.text()), (304, ""));
    // As long as the first, within the same second.
    server.upload(&format!("{ROOT}/full"), b"other version").await.ok();
    let whole = server.get_with(&path, &[("range", "bytes=6-"), ("if-range", &old)]).await;
    assert_eq!((whole.status.as_u16(), whole.text()), (200, "other version"));
    assert_eq!(server.get_with(&path, &[("if-none-match", &old)]).await.status, 200);
}

#[tokio::test]
async fn metadata_is_kept_for_ever_but_for_the_timestamp() {
    let (server, _) = server_at(1).await;
    for (name, caching) in [
        ("timestamp.json", "no-cache"),
        ("1.root.json", "public, max-age=31536000, immutable"),
        ("1.snapshot.json", "public, max-age=31536000, immutable"),
        ("1.targets.json", "public, max-age=31536000, immutable"),
        ("2.demo-x86_64.json", "public, max-age=31536000, immutable"),
    ] {
        let answer = server.get(&format!("/v1/metadata/{name}")).await.ok();
        assert_eq!(answer.header("cache-control"), caching, "{name}");
        assert_eq!(answer.header("content-type"), "application/json", "{name}");
        let again = server
            .get_with(&format!("/v1/metadata/{name}"), &[("if-none-match", answer.header("etag"))])
            .await;
        assert_eq!(again.status, 304, "{name}");
    }
    let bytes = Wanted::release(1).manifest().to_bytes().unwrap();
    let manifest = format!("/v1/targets/demo-x86_64/{}.1.json", Hash::of(&bytes));
    let manifest = server.get(&manifest).await.ok();
    assert_eq!(manifest.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(manifest.header("etag"), format!("\"{}\"", Hash::of(&bytes)));
    assert_eq!(server.get("/v1/metadata/2.root.json").await.refused().0, 404);
}

#[tokio::test]
async fn names_that_leave_the_folder_name_nothing() {
    let (server, _) = server_at(1).await;
    let root = Wanted::release(1).image(Role::Kernel).image.root;
    for path in [
        format!("/v1/images/{}/full", root.to_string().to_uppercase()),
        "/v1/images/..%2f..%2fstore.sqlite/full".into(),
        format!("/v1/targets/..%2f..%2f/{root}.1.json"),
        format!("/v1/targets/demo-x86_64/{root}.%2e%2e%2fstore.json"),
        "/v1/targets/demo-x86_64/1.json".into(),
        "/v1/metadata/..%2f..%2ftimestamp.key".into(),
        "/v1/nothing".into(),
        "/v2/check".into(),
    ] {
        assert_eq!(server.get(&path).await.refused(), (404, "not_found".into()), "{path}");
    }
    let wrong = server.call(Caller::Anyone, Method::DELETE, "/v1/check", Body::empty()).await;
    assert_eq!(wrong.refused(), (405, "method_not_allowed".into()));
}
