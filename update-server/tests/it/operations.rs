use serde_json::json;

use crate::publisher::server_at;
use crate::server::TestServer;

#[tokio::test]
async fn health_is_what_the_store_can_do() {
    let server = TestServer::new().await;
    let well = server.get("/healthz").await;
    assert_eq!((well.status.as_u16(), well.text()), (200, "ok\n"));
    let db = rusqlite::Connection::open(server.path().join("store.sqlite")).unwrap();
    db.execute_batch("DROP TABLE probe").unwrap();
    assert_eq!(server.get("/healthz").await.refused(), (503, "unavailable".into()));
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let (server, _) = server_at(2).await;
    server.check(1, json!({})).await;
    server.check(1, json!({})).await;
    server.check(2, json!({})).await;
    // What nobody published gets no line of its own: anyone may invent it.
    for (n, (compatible, release)) in
        [("demo-x86_64", "9"), ("invented", "1"), ("other", "2")].into_iter().enumerate()
    {
        let device = format!("{n:032x}");
        let report = json!({ "device": device, "compatible": compatible, "release": release });
        server.check(1, report).await;
    }
    let served = server.get("/v1/metadata/1.root.json").await.body.len();
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4");
    for line in [
        "seesaw_checks_total{action=\"update\",reason=\"channel\"} 3".to_owned(),
        "seesaw_checks_total{action=\"none\",reason=\"up_to_date\"} 1".to_owned(),
        "seesaw_devices{compatible=\"demo-x86_64\",release=\"2\"} 1".to_owned(),
        "seesaw_devices{compatible=\"demo-x86_64\",release=\"\"} 1".to_owned(),
        "seesaw_devices{compatible=\"\",release=\"\"} 2".to_owned(),
        "seesaw_snapshot_version 2".to_owned(),
        format!("seesaw_bytes_served_total {served}"),
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line}\n{}", metrics.text());
    }
    const DAY: i64 = 24 * 3600;
    for (name, expected) in [
        ("seesaw_timestamp_expiry_seconds", 2 * DAY),
        ("seesaw_snapshot_expiry_seconds", 90 * DAY),
        ("seesaw_role_expiry_seconds{role=\"targets\"}", 365 * DAY),
        ("seesaw_role_expiry_seconds{role=\"demo-x86_64\"}", 365 * DAY),
        ("seesaw_role_expiry_seconds{role=\"root\"}", 730 * DAY),
    ] {
        let mut lines = metrics.text().lines();
        let left = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let left: i64 = left.unwrap_or_else(|| panic!("{name}")).parse().unwrap();
        assert!((expected - 60..=expected).contains(&left), "{name} {left}");
    }
}
