//! Anyone who reaches the server can invent devices.

use serde_json::{Value, json};
use update_server::store::Room;

use crate::server::TestServer;

fn device(n: u32) -> String {
    format!("{n:032x}")
}

async fn poll(server: &TestServer, n: u32) {
    server.check(1, json!({ "device": device(n) })).await;
}

/// Reports `count` events, the `from`th of this device and on.
async fn report(server: &TestServer, n: u32, from: u32, count: u32) {
    let event = |i: u32| {
        let id = format!("{n:016x}{i:016x}");
        json!({ "id": id, "at": "2026-11-01T00:00:00Z", "kind": "seen" })
    };
    let events: Vec<Value> = (from..from + count).map(event).collect();
    let body = json!({ "device": device(n), "compatible": "demo-x86_64", "events": events });
    assert_eq!(server.post("/v1/events", body).await.status, 204);
}

/// The numbers of the devices that are kept, in order.
async fn kept(server: &TestServer) -> Vec<u32> {
    let list = server.admin_get("devices").await.ok().json();
    let ids = list["devices"].as_array().unwrap().iter().map(|view| view["device"].as_str());
    let mut kept: Vec<_> = ids.map(|id| u32::from_str_radix(id.unwrap(), 16).unwrap()).collect();
    kept.sort_unstable();
    assert_eq!(list["total"], kept.len());
    kept
}

#[tokio::test]
async fn a_flood_of_devices_pushes_out_none_that_was_there() {
    let server = TestServer::with_room(Room { devices: 20 }).await;
    for n in 0..10 {
        poll(&server, n).await;
        report(&server, n, 0, 1).await;
    }
    // Polls alone: the newest of them find room beside the ten.
    for n in 100..500 {
        poll(&server, n).await;
        if n % 50 == 0 {
            server.app.flush_last_seen().await.unwrap();
            assert!(kept(&server).await.len() <= 20);
        }
    }
    let found = kept(&server).await;
    assert_eq!((found.len(), &found[..10]), (20, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9][..]));
    // With events: whoever reports now is heard, and an invented one makes room for it.
    for n in 1000..1200 {
        report(&server, n, 0, 1).await;
    }
    let mut expected: Vec<_> = (0..10).chain(1000..1009).collect();
    expected.push(1199);
    assert_eq!(kept(&server).await, expected);
    // Nor is there room for what only asks.
    poll(&server, 2000).await;
    assert_eq!(kept(&server).await, expected);
    let metrics = server.get("/metrics").await;
    let let_go = format!("seesaw_devices_let_go_total {}\n", 10 + 400 + 200 + 1 - 20);
    assert!(metrics.text().contains(&let_go), "{}", metrics.text());
}

#[tokio::test]
async fn a_pinned_device_is_never_let_go() {
    let (server, _) = crate::publisher::server_at_with(1, Room { devices: 2 }).await;
    poll(&server, 1).await;
    let pin = json!({ "release": "1" });
    server.admin_put(&format!("devices/{}/pin", device(1)), pin).await.ok();
    for n in 2..50 {
        poll(&server, n).await;
        report(&server, n + 1000, 0, 1).await;
    }
    assert_eq!(kept(&server).await, [1, 1049]);
}

#[tokio::test]
async fn a_flood_of_events_pushes_out_the_oldest_of_them() {
    let server = TestServer::with_room(Room { devices: 10 }).await;
    for n in 0..9 {
        report(&server, n, 0, 100).await;
    }
    let db = rusqlite::Connection::open(server.path().join("store.sqlite")).unwrap();
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM events"), 200);
    let newest = format!("{:016x}", 8);
    assert_eq!(count(&format!("SELECT count(*) FROM events WHERE event LIKE '{newest}%'")), 100);
    // The last word of a device is not among what is counted.
    assert_eq!(count("SELECT count(*) FROM devices WHERE event_kind = 'seen'"), 9);
}
