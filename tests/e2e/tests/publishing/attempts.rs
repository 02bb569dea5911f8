use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use payload_tools::bundle::Bundle;
use payload_tools::trust::{Files, Limits, TrustError, UnixTime, verify_bundle};

use crate::served::{COMPATIBLE, Served, block_on, succeed};

fn copy(from: &Path, to: &Path) {
    succeed(Command::new("cp").arg("-a").arg(from).arg(to));
}

#[test]
fn publishing_again_changes_nothing() {
    let served = Served::new();
    let release = served.release(1);
    let first = served.publish(&release, &["stable"]);
    assert_eq!((&first["snapshot"], &first["signed"]), (&1.into(), &true.into()));
    let again = served.publish(&release, &["stable"]);
    assert_eq!((&again["snapshot"], &again["signed"]), (&1.into(), &false.into()));
    let wider = served.publish(&release, &["beta", "stable"]);
    assert_eq!((&wider["snapshot"], &wider["signed"]), (&2.into(), &true.into()));
    assert_eq!(served.offered(), [1]);
}

/// The files of a release that are uploaded by the root of their image.
fn uploaded(release: &Path) -> Vec<PathBuf> {
    let images = fs_err::read_dir(release.join("images")).unwrap();
    let roots = images.map(|entry| entry.unwrap().file_name());
    let files = roots.flat_map(|root| ["full", "levels"].map(|file| Path::new(&root).join(file)));
    files.map(|file| Path::new("images").join(file)).collect()
}

#[test]
fn publishing_again_repairs_what_the_server_damaged() {
    let served = Served::new();
    let release = served.release(1);
    served.publish(&release, &["stable"]);
    let stored = |file: &Path| served.data().join("payloads").join(file);
    let inode = |file: &Path| fs_err::metadata(stored(file)).unwrap().ino();
    let files = uploaded(&release);
    let [flipped, longer, replaced, gone] = &files[..] else { panic!("{files:?}") };

    let mut bytes = fs_err::read(stored(flipped)).unwrap();
    bytes[20] ^= 1;
    fs_err::write(stored(flipped), &bytes).unwrap();
    fs_err::write(stored(longer), "these are no levels").unwrap();
    let length = fs_err::metadata(stored(replaced)).unwrap().len();
    let other = std::iter::once(Ok(vec![7; length as usize]));
    let upload = served.client().upload(replaced.to_str().unwrap(), length, other);
    block_on(upload.accepted()).unwrap();
    fs_err::remove_file(stored(gone)).unwrap();

    let again = served.publish(&release, &["stable"]);
    assert_eq!((&again["snapshot"], &again["signed"]), (&1.into(), &false.into()));
    for file in &files {
        let served = served.get(&format!("/v1/{}", file.display()));
        assert!(served == Some(fs_err::read(release.join(file)).unwrap()), "{}", file.display());
    }

    let cut = fs_err::OpenOptions::new().write(true).open(stored(flipped)).unwrap();
    cut.set_len(10).unwrap();
    let before = files.iter().map(|file| inode(file)).collect::<Vec<_>>();
    served.publish(&release, &["stable"]);
    let after = files.iter().map(|file| inode(file)).collect::<Vec<_>>();
    assert_ne!(after[0], before[0], "the file that was cut is there anew");
    assert_eq!(after[1..], before[1..], "what is whole is not uploaded again");
}

#[test]
fn a_second_publisher_adds_to_what_the_first_published() {
    let served = Served::new();
    let other = served.folder.path().join("other-publisher");
    copy(&served.publisher(), &other);
    served.publish(&served.release(1), &["stable"]);
    let second = served.publish_by(&other, &served.release(2), &["stable"]);
    assert!(second.status.success(), "{second:?}");
    served.publish(&served.release(3), &["stable"]);
    assert_eq!(served.offered(), [1, 2, 3]);
}

#[test]
fn what_was_signed_for_a_bundle_leaves_nobody_else_out() {
    let served = Served::new();
    let other = served.folder.path().join("other-publisher");
    copy(&served.publisher(), &other);
    // Two versions ahead of the server, and without what the other is about to publish.
    for counter in [2, 3] {
        served.payload(&["sign", served.release(counter).to_str().unwrap(), "--channel", "stable"]);
    }
    let theirs = served.publish_by(&other, &served.release(1), &["stable"]);
    assert!(theirs.status.success(), "{theirs:?}");
    served.publish(&served.release(3), &["stable"]);
    assert_eq!(served.offered(), [1, 3]);
}

/// A release that no server has the images of must not stand in the way of everything after it.
#[test]
fn what_a_server_has_not_taken_is_not_sent_again() {
    let served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    served.payload(&["sign", served.release(2).to_str().unwrap(), "--channel", "stable"]);
    served.renew(&[]);
    let names = || {
        let entries = fs_err::read_dir(served.publisher().join("metadata")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<BTreeSet<_>>()
    };
    let before = names();
    let refused = served.renew_with("wrong token", &["--all"]);
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(names(), before, "what was refused is not kept");
    served.publish(&served.release(3), &["stable"]);
    assert_eq!(served.offered(), [1, 3]);
}

#[test]
fn a_release_name_stands_for_one_manifest() {
    let served = Served::new();
    let release = served.release(1);
    served.publish(&release, &["stable"]);
    let manifest = release.join("manifest.json");
    let text = fs_err::read_to_string(&manifest).unwrap().replace("2026-11-01", "2026-11-02");
    fs_err::write(&manifest, text).unwrap();
    let refused = served.publish_by(&served.publisher(), &release, &["stable"]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(said.contains("signed already, with another manifest"), "{said}");
}

#[test]
fn a_signed_folder_is_trusted_without_a_server() {
    let served = Served::new();
    let release = served.release(4);
    served.payload(&["sign", release.to_str().unwrap(), "--channel", "stable"]);
    let bundle = Bundle::open(&release).unwrap();
    let read = |name: &str, max| Ok::<_, TrustError>(bundle.metadata_file(name, max).unwrap());
    let first_root = fs_err::read(served.first_root()).unwrap();
    let (compatible, now) = (COMPATIBLE.parse().unwrap(), UnixTime::of_system_clock());
    let trusted =
        verify_bundle(&first_root, &Files::new(), read, &compatible, now, Limits::default());
    let trusted = trusted.unwrap();
    let manifest = fs_err::read(release.join("manifest.json")).unwrap();
    assert_eq!(trusted.release("4").unwrap().open(&manifest).unwrap().counter, 4);
}

#[test]
fn renewing_and_a_new_compatible_keep_the_releases() {
    let served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    served.renew(&[]);
    let renewed = served.renew(&["--all"]);
    assert_eq!(renewed["expires"].as_array().unwrap().len(), 4);
    served.payload(&["keygen", "--compatible", "other"]);
    let added = served.payload(&["role", "add", "other"]);
    assert_eq!(added["complete"], false);
    assert_eq!(served.payload(&["sign"])["complete"], true);
    served.publish(&served.release(2), &["stable"]);
    assert_eq!(served.offered(), [1, 2]);
    assert!(served.get("/v1/metadata/1.other.json").is_some());
}

/// Devices that saw snapshot 2 would see another one of that number.
#[test]
fn a_server_that_lost_a_publication_is_not_published_to() {
    let mut served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    let backup = served.folder.path().join("backup");
    copy(&served.data(), &backup);
    served.publish(&served.release(2), &["stable"]);
    served.serve(&backup);
    let refused = served.publish_by(&served.publisher(), &served.release(3), &["stable"]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(said.contains("stands at snapshot 1, and 2 was published"), "{said}");
    // The next move, where there is no newer backup.
    fs_err::remove_file(served.publisher().join("metadata/2.snapshot.json")).unwrap();
    served.publish(&served.release(3), &["stable"]);
    assert_eq!(served.offered(), [1, 3]);
}

#[test]
fn a_withdrawn_release_is_offered_to_nobody() {
    let served = Served::new();
    for counter in [1, 2] {
        served.publish(&served.release(counter), &["stable"]);
    }
    let withdrawn = served.with_server(&["withdraw", COMPATIBLE, "1"]);
    assert_eq!((&withdrawn["left"], &withdrawn["snapshot"]), (&1.into(), &3.into()));
    assert_eq!(withdrawn["stranded"], serde_json::json!([]));
    assert_eq!(served.offered(), [2]);
    served.publish(&served.release(3), &["stable"]);
    assert_eq!(served.offered(), [2, 3]);
    let last = served.with_server(&["withdraw", COMPATIBLE, "3"]);
    assert_eq!(last["stranded"], serde_json::json!(["stable"]));
}

/// Every device in the field has root 1 in its image, and follows from there.
#[test]
fn a_renewed_root_is_followed_from_the_first() {
    let mut served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    let first = served.renew(&[])["expires"][0].clone();
    let renewed = served.renew(&["--root", "--all"]);
    assert_eq!(renewed["expires"][0]["role"], "root");
    assert!(renewed["expires"][0]["at"].as_str() >= first["at"].as_str(), "{renewed} {first}");
    assert!(served.device_sees().files_to_store().contains_key("2.root.json"));
    served.serve(&served.data());
    served.publish(&served.release(2), &["stable"]);
    assert_eq!(served.offered(), [1, 2]);
    assert!(served.get("/v1/metadata/1.root.json").is_some());
}

#[test]
fn a_wrong_token_is_said_plainly() {
    let served = Served::new();
    let release = served.release(1);
    let mut publish = Command::new(seesaw_harness::programs::programs().unwrap().payload);
    publish.arg("publish").arg(&release).arg("--publisher").arg(served.publisher());
    let output = publish
        .args(["--server", &served.url, "--token", "wrong", "--channel", "stable"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the admin token is not accepted (unauthorized); "), "{said}");
    assert!(!said.contains("release    1 (counter 1)"), "nothing is signed for it: {said}");
}
