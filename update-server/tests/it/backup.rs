use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::crash::{Heard, publish, report};
use crate::damage::{garble_events, settled_folder};
use crate::publisher::{Publisher, Wanted, device_trusts};
use crate::served::{Served, http, program, served_folder, text};

fn back_up(data: &Path, out: &Path) -> Output {
    program().args(["backup", "--data"]).arg(data).arg("--out").arg(out).output().unwrap()
}

async fn get(served: &Served, path: &str) -> Option<Vec<u8>> {
    let get = http().get(format!("{}/v1/{path}", served.url)).bearer_auth(served.token());
    let answer = get.send().await.unwrap();
    let status = answer.status();
    (status != 404).then_some(answer.error_for_status().ok()?.bytes().await.ok()?.to_vec())
}

/// The server works on while it is copied; what it had acknowledged before is in the copy, and the
/// copy takes its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_meanwhile_is_served_in_the_place_of_what_was_lost() {
    let folder = served_folder();
    let (data, out) = (folder.path().join("data"), folder.path().join("backup"));
    let served = Served::start(folder.path());
    let key = std::fs::read_to_string(data.join("timestamp.pub")).unwrap();
    let mut publisher = Publisher::with_timestamp_key(&key.trim().parse().unwrap());
    let one = Wanted::release(1);
    let next = (one.clone(), publisher.sign(&one));
    assert_eq!(publish(served.url.clone(), served.token(), next).await, Heard::Promoted);
    publisher.taken();
    let (_, before) = report(served.url.clone(), http(), 1).await;
    assert_eq!(before.len(), 150);

    let enough = Arc::new(AtomicBool::new(false));
    let (stop, url) = (Arc::clone(&enough), served.url.clone());
    let meanwhile = tokio::spawn(async move {
        for device in 2.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            report(url.clone(), http(), device).await;
        }
    });
    let (from, to) = (data.clone(), out.clone());
    let made = tokio::task::spawn_blocking(move || back_up(&from, &to)).await.unwrap();
    enough.store(true, Ordering::Relaxed);
    meanwhile.await.unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("and 5 uploaded files of "), "{}", text(&made.stdout));
    for (path, mode) in [(out.clone(), 0o700), (out.join("timestamp.key"), 0o600)] {
        let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }

    // As docs/operations.md says.
    assert_eq!(served.stop().code(), Some(0));
    std::fs::rename(&data, folder.path().join("lost")).unwrap();
    std::fs::rename(&out, &data).unwrap();
    let served = Served::start(folder.path());
    for (path, bytes) in one.files() {
        assert!(get(&served, &path).await == Some(bytes), "{path}");
    }
    let shown = get(&served, &format!("admin/devices/{:032x}", 1)).await.unwrap();
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    let kept = shown["events"].as_array().unwrap();
    assert!(before.iter().all(|id| kept.iter().any(|event| event["id"] == **id)));
    let fetch = async |path: String| get(&served, &path).await;
    assert_eq!(device_trusts(&publisher, fetch).await.releases().len(), 1);
    let two = Wanted::release(2);
    let next = (two.clone(), publisher.sign(&two));
    assert_eq!(publish(served.url.clone(), served.token(), next).await, Heard::Promoted);
    let list = served.json(&["channel", "list"]);
    assert_eq!(list[0]["release"], json!("2"));
}

#[test]
fn a_backup_is_whole_or_not_there_and_overwrites_nothing() {
    let folder = settled_folder();
    let (data, out) = (folder.path().join("data"), folder.path().join("backups/one"));
    assert!(back_up(&data, &out).status.success());
    let again = back_up(&data, &out);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("exists and was not overwritten"), "{again:?}");
    garble_events(&data.join("store.sqlite"));
    let damaged = back_up(&data, &folder.path().join("backups/two"));
    assert_eq!(damaged.status.code(), Some(1));
    assert!(text(&damaged.stderr).contains("error: the store is damaged"), "{damaged:?}");
    let none = back_up(&folder.path().join("nothing"), &folder.path().join("backups/two"));
    assert!(text(&none.stderr).contains("holds no complete server"), "{none:?}");
    let left = std::fs::read_dir(folder.path().join("backups")).unwrap().count();
    assert_eq!(left, 1, "nothing is left of what was not made");
}
