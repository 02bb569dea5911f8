//! Stores that are not what was written.

use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use update_server::app::Settings;
use update_server::data_folder::DataFolder;
use update_server::deltas::keep_making;
use update_server::serve;

use crate::publisher::{Wanted, server_at};
use crate::served::{Served, http, program, served_folder, text};
use crate::server::{DEVICE, until};

fn open(store: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().write(true).open(store).unwrap()
}

/// A served folder in which nothing waits in the log beside the store.
pub fn settled_folder() -> TempDir {
    let folder = served_folder();
    assert_eq!(Served::start(folder.path()).stop().code(), Some(0));
    // The last to close it writes the log into the store.
    let db = rusqlite::Connection::open(folder.path().join("data/store.sqlite")).unwrap();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    folder
}

/// A name, what is done to the store, and what is said of it.
type Row = (&'static str, fn(&Path), &'static str);

#[test]
fn a_store_that_is_damaged_is_said_and_left_as_it_is() {
    let newer = |store: &Path| {
        let db = rusqlite::Connection::open(store).unwrap();
        db.pragma_update(None, "user_version", 99).unwrap();
    };
    let rows: [Row; 5] = [
        ("emptied", |store| open(store).set_len(0).unwrap(), "is empty; restore the data folder"),
        ("cut", |store| open(store).set_len(4096).unwrap(), "the store is damaged: "),
        ("overwritten", |store| open(store).write_all_at(&[7; 4096], 0).unwrap(), "is damaged: "),
        ("newer", newer, "the store has schema 99 and this program knows up to "),
        ("gone", |store| std::fs::remove_file(store).unwrap(), "holds no complete server"),
    ];
    for (what, damage, expected) in rows {
        let folder = settled_folder();
        let data = folder.path().join("data");
        let store = data.join("store.sqlite");
        damage(&store);
        let before = std::fs::read(&store).ok();
        let out = folder.path().join("copy");
        let backup = ["backup", "--out", out.to_str().unwrap()];
        let verbs = [&["serve", "--listen", "127.0.0.1:0"][..], &["token", "list"], &backup];
        // What is newer is copied as it is.
        for verb in &verbs[..if what == "newer" { 2 } else { 3 }] {
            // A server that takes the store does not end.
            let mut command = std::process::Command::new("timeout");
            command.arg("60").arg(program().get_program()).args(*verb).arg("--data").arg(&data);
            let ended = command.output().unwrap();
            let said = text(&ended.stderr);
            assert_eq!(ended.status.code(), Some(1), "{what} {verb:?}: {said}");
            assert!(said.contains("error: ") && said.contains(expected), "{what} {verb:?}: {said}");
        }
        assert_eq!(std::fs::read(&store).ok(), before, "{what}");
        assert!(!out.exists(), "{what}");
    }
}

#[tokio::test]
async fn metadata_that_does_not_verify_any_more_is_not_served() {
    let (server, _) = server_at(1).await;
    let db = rusqlite::Connection::open(server.path().join("store.sqlite")).unwrap();
    let sql = "UPDATE metadata SET body = x'7b7d' WHERE name = '1.snapshot.json'";
    assert_eq!(db.execute(sql, []).unwrap(), 1);
    let settings = Settings::default();
    let error = serve::open(&DataFolder::at(server.path()), settings).await.err().unwrap();
    assert!(error.to_string().contains("metadata does not verify; restore"), "{error}");
}

#[tokio::test]
async fn a_row_that_was_never_written_so_is_named() {
    let (server, _) = server_at(1).await;
    server.check(1, json!({})).await;
    server.app.flush_last_seen().await.unwrap();
    let db = rusqlite::Connection::open(server.path().join("store.sqlite")).unwrap();
    assert_eq!(db.execute("UPDATE devices SET slot = 'C'", []).unwrap(), 1);
    let answer = server.admin_get("devices").await;
    assert_eq!(answer.refused(), (503, "unavailable".into()));
    assert!(answer.text().contains("the store holds `C` as devices.slot"), "{}", answer.text());
    assert_eq!(server.check(1, json!({})).await["reason"], "up_to_date", "others go on");
}

/// Garbles the tables of events where they begin.
pub fn garble_events(store: &Path) {
    let db = rusqlite::Connection::open(store).unwrap();
    let size: u64 = db.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'events' AND rootpage > 0";
    let mut statement = db.prepare(sql).unwrap();
    let pages = statement.query_map([], |row| row.get::<_, u64>(0)).unwrap();
    for page in pages.map(Result::unwrap) {
        open(store).write_all_at(&vec![0xee; size as usize], (page - 1) * size).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_that_is_found_later_acknowledges_nothing_and_stops_nothing_else() {
    let folder = settled_folder();
    garble_events(&folder.path().join("data/store.sqlite"));
    let served = Served::start(folder.path());
    let post = |path: &str, body: Value| {
        http().post(format!("{}/v1/{path}", served.url)).json(&body).send()
    };
    let event = json!({ "id": "00".repeat(16), "at": "2026-11-01T00:00:00Z", "kind": "seen" });
    let report = json!({ "device": DEVICE, "compatible": "demo", "events": [event] });
    let refused = post("events", report).await.unwrap();
    assert_eq!(refused.status(), 503);
    let said: Value = refused.json().await.unwrap();
    let said = said["error"]["message"].as_str().unwrap();
    assert!(
        said.starts_with("the store is damaged: it was not possible to record events"),
        "{said}"
    );
    let check = json!({
        "device": DEVICE, "compatible": "demo", "slot": "A", "release": "1", "counter": 1
    });
    assert_eq!(post("check", check).await.unwrap().status(), 200);
    assert_eq!(served.json(&["device", "list"])["total"], 1);
}

#[tokio::test]
async fn a_lost_manifest_keeps_no_delta_of_other_releases_from_being_made() {
    let (server, _) = server_at(3).await;
    let lost = Wanted::release(1).manifest();
    let folder = server.app.payloads.root().join("targets/demo-x86_64");
    let mut names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(&format!(".{}.json", lost.release))
    };
    std::fs::remove_file(names.find(named).unwrap()).unwrap();
    server.check(2, json!({})).await;
    let making = tokio::spawn(keep_making(server.app.clone()));
    until("the delta is found", async || !server.app.deltas.figures().rows.is_empty()).await;
    making.abort();
    let rows = server.app.deltas.figures().rows;
    assert!(rows.iter().all(|row| row.between.to_string() == "demo-x86_64 2 to 3"), "{rows:?}");
}
