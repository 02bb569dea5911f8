//! Release folders whose payloads are not what their manifest says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use payload_tools::bundle::{Bundle, full_name};
use payload_tools::format::{BLOCK, Role, SEGMENT};
use serde_json::Value;

use crate::served::{Served, succeed};

/// Of a release, the name of the root image's full payload.
fn full(release: &Path) -> String {
    let images = Bundle::open(release).unwrap().manifest().unwrap().images;
    full_name(&images.iter().find(|image| image.role == Role::Root).unwrap().root)
}

/// A copy of a release in which something was done to the root image's full payload.
fn damaged(release: &Path, damage: impl Fn(&mut Vec<u8>)) -> PathBuf {
    let copy = release.with_extension("damaged");
    if copy.exists() {
        fs_err::remove_dir_all(&copy).unwrap();
    }
    succeed(Command::new("cp").arg("-a").arg(release).arg(&copy));
    let path = copy.join(full(release));
    let mut bytes = fs_err::read(&path).unwrap();
    damage(&mut bytes);
    fs_err::write(path, bytes).unwrap();
    copy
}

/// What a refusal of `payload publish` says, which has the exit code of `payload verify`.
fn refused(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["error"].clone()
}

/// Two segments, the first of which is as long as a damaged file of 1000 bytes can begin.
fn two_segments() -> Vec<u8> {
    payload_tools::testing::noise(1, SEGMENT + BLOCK)
}

#[test]
fn the_servers_good_copy_is_not_replaced_by_a_damaged_one() {
    let served = Served::new();
    let release = served.release_of(1, &two_segments());
    served.publish(&release, &["stable"]);
    let file = full(&release);
    let good = fs_err::read(release.join(&file)).unwrap();
    let last = good.len() - 200;
    let flipped = damaged(&release, |bytes| bytes[last..last + 2].iter_mut().for_each(|b| *b ^= 1));
    let error = refused(&served.publish_by(&served.publisher(), &flipped, &["stable"]));
    let said = error["messages"].to_string();
    assert!(said.contains(&format!("{file}, the full payload of the root image")), "{said}");
    assert!(said.contains("segment 1 of the payload"), "{said}");
    assert!(error["hint"].to_string().contains("build the release again"), "{error}");
    let cut = damaged(&release, |bytes| bytes.truncate(1000));
    let error = refused(&served.publish_by(&served.publisher(), &cut, &["stable"]));
    assert!(error["messages"].to_string().contains(&file), "{error}");
    assert!(served.get(&format!("/v1/{file}")).unwrap() == good);
}

/// The words are those of the process that is locked in for it: the keys are open in this one.
#[test]
fn a_publisher_decodes_where_no_keys_are() {
    let served = Served::new();
    let broken = damaged(&served.release_of(1, &two_segments()), |bytes| bytes[0] ^= 1);
    let error = refused(&served.publish_by(&served.publisher(), &broken, &["stable"]));
    let said = error["messages"].to_string();
    assert!(said.contains("the decoder refused the segment"), "{said}");
}

#[test]
fn a_damaged_release_is_neither_shown_nor_signed_nor_uploaded() {
    let served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    let release = served.release_of(2, &two_segments());
    let broken = damaged(&release, |bytes| bytes[1000] ^= 1);
    refused(&served.publish_by(&served.publisher(), &broken, &["stable"]));
    let path = broken.to_str().unwrap();
    let shown = ["publish", path, "--channel", "stable", "--dry-run"];
    let server = ["--server", &served.url, "--token", &served.token];
    let args = [&shown[..], &server].concat();
    refused(&served.command(&served.publisher(), &args).output().unwrap());
    assert_eq!(served.offered(), [1]);
    assert!(!served.data().join("payloads").join(full(&release)).exists());
    assert!(!served.publisher().join("draft").exists());
    served.publish(&release, &["stable"]);
    assert_eq!(served.offered(), [1, 2]);
}

/// What a delta makes only a device can check; whose it is stands in its head.
#[test]
fn a_delta_with_another_head_is_refused() {
    let served = Served::new();
    let [old, new] = [1, 2].map(|counter| served.release(counter));
    served.publish(&old, &["stable"]);
    served.payload_alone(&["delta", old.to_str().unwrap(), new.to_str().unwrap()]);
    let folder = new.join(full(&new)).with_file_name("delta");
    let delta = fs_err::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let good = fs_err::read(&delta).unwrap();
    fs_err::write(&delta, &good[..good.len() - 1]).unwrap();
    let error = refused(&served.publish_by(&served.publisher(), &new, &["stable"]));
    assert!(error["messages"].to_string().contains("is damaged, or another's"), "{error}");
    fs_err::write(&delta, good).unwrap();
    served.publish(&new, &["stable"]);
}

#[test]
fn what_was_uploaded_is_told_and_what_was_there() {
    let served = Served::new();
    let release = served.release(1);
    let words = || {
        let (folder, release) = (served.publisher(), release.to_str().unwrap().to_owned());
        let publisher = folder.to_str().unwrap();
        let server = ["--server", &served.url, "--token", &served.token, "--channel", "stable"];
        served.payload_in_words(
            &[&["publish", &release, "--publisher", publisher], &server[..]].concat(),
        )
    };
    let said = words();
    assert!(
        said.contains("uploaded: kernel full, kernel levels, root full, root levels ("),
        "{said}"
    );
    assert!(said.contains("on the server already: nothing\n"), "{said}");
    fs_err::remove_file(served.data().join("payloads").join(full(&release))).unwrap();
    let said = words();
    assert!(said.contains("uploaded: root full ("), "{said}");
    assert!(said.contains("already: kernel full, kernel levels, root levels\n"), "{said}");
}
