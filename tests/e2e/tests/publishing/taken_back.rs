//! What takes something back is shown, and done only where it is asked for by name.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::served::{COMPATIBLE, Served, succeed};

impl Served {
    /// `payload publish` in the channel stable with more options, whatever comes of it.
    fn publish_with(&self, release: &Path, options: &[&str]) -> Output {
        let publish = ["publish", release.to_str().unwrap(), "--channel", "stable"];
        let server = ["--server", &self.url, "--token", &self.token];
        let args = [&publish[..], options, &server].concat();
        self.command(&self.publisher(), &args).output().unwrap()
    }

    /// The release that stable is at.
    fn stable(&self) -> Value {
        let channels = self.operate(&["channel", "list", "--json"]);
        let channels: Value = serde_json::from_str(&channels).unwrap();
        channels[0]["release"].clone()
    }
}

fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    error["error"]["messages"][0].as_str().unwrap().to_owned()
}

fn shown(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const BACK: &str = "channel stable goes back from 3 to 1; devices above it do not take it";

#[test]
fn a_channel_goes_back_only_when_it_is_told_to() {
    let served = Served::new();
    for counter in [1, 3] {
        served.publish(&served.release(counter), &["stable"]);
    }
    let old = served.release(1);
    let preview = shown(&served.publish_with(&old, &["--dry-run"]));
    assert_eq!(preview, json!({ "papers": [], "notes": [BACK], "needs": ["--move-back"] }));
    let refusal = said(&served.publish_with(&old, &[]));
    assert!(refusal.starts_with(BACK) && refusal.ends_with("again with --move-back"), "{refusal}");
    assert_eq!(served.stable(), "3");
    // Repairing asks for nothing, in a channel or in none.
    assert!(served.publish_by(&served.publisher(), &old, &[]).status.success());
    served.publish(&served.release(3), &["stable"]);
    assert_eq!(served.stable(), "3");
    assert!(served.publish_with(&old, &["--move-back"]).status.success());
    assert_eq!(served.stable(), "1");
    served.publish(&old, &["stable"]);
}

#[test]
fn a_withdrawn_release_is_listed_again_only_when_that_is_asked_for() {
    let served = Served::new();
    for counter in [1, 3] {
        served.publish(&served.release(counter), &["stable"]);
    }
    served.with_server(&["withdraw", COMPATIBLE, "1"]);
    let old = served.release(1);
    let preview = shown(&served.publish_with(&old, &["--dry-run"]));
    assert_eq!(preview["needs"], json!(["--relist-withdrawn", "--move-back"]));
    let lines = preview["papers"][0]["lines"].as_array().unwrap();
    let has = |wanted: &str| lines.iter().any(|line| line == wanted);
    let listed = format!("version 3 of {COMPATIBLE} listed it, and it was withdrawn");
    assert!(has(&format!("again      release 1 is not listed now: {listed}")), "{preview}");
    assert!(has("older      than 3, the newest listed: counter 1 < 3"), "{preview}");
    let refusal = said(&served.publish_with(&old, &["--move-back"]));
    assert!(refusal.contains(&listed) && refusal.contains(BACK), "{refusal}");
    assert!(refusal.ends_with("run this again with --relist-withdrawn"), "{refusal}");
    assert_eq!(served.offered(), [3]);
    assert!(!served.publisher().join("draft").exists());
    let both = ["--relist-withdrawn", "--move-back"];
    assert!(served.publish_with(&old, &both).status.success());
    assert_eq!((served.offered(), served.stable()), (vec![1, 3], json!("1")));
}

/// The newest too, by the word of the server where the folder has not seen it.
#[test]
fn a_publisher_who_was_not_there_is_told_of_what_was_withdrawn() {
    let served = Served::new();
    let other = served.folder.path().join("other-publisher");
    let mut copy = Command::new("cp");
    succeed(copy.arg("-a").arg(served.publisher()).arg(&other));
    for counter in [1, 2] {
        served.publish(&served.release(counter), &["stable"]);
    }
    served.with_server(&["withdraw", COMPATIBLE, "2"]);
    let refusal = said(&served.publish_by(&other, &served.release(2), &["stable"]));
    assert!(
        refusal.starts_with("release 2 is not listed now: it was withdrawn on 20"),
        "{refusal}"
    );
    assert_eq!(served.offered(), [1]);
    // What is new is nobody's to take back.
    assert!(served.publish_by(&other, &served.release(3), &["stable"]).status.success());
}

#[test]
fn a_pin_that_keeps_a_release_from_devices_is_said() {
    let served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    served.operate(&["channel", "pin", COMPATIBLE, "stable", "1"]);
    let new = served.release(2);
    for publishing in ["first", "again"] {
        let report = shown(&served.publish_with(&new, &[]));
        assert_eq!(report["pinned"], json!({ "stable": "1" }), "{publishing}: {report}");
    }
    assert_eq!(served.stable(), "2");
    served.operate(&["channel", "unpin", COMPATIBLE, "stable"]);
    assert_eq!(shown(&served.publish_with(&new, &[]))["pinned"], json!({}));
}

/// Whoever signs is told too, and neither a draft nor what goes with one is a way around the option.
#[test]
fn a_draft_lists_nothing_again_that_nobody_asked_for() {
    let served = Served::new();
    let second = served.payload(&["keygen", "--name", "second"])["keys"][0]["public"].clone();
    served.payload(&["key", "add", COMPATIBLE, second.as_str().unwrap(), "--threshold", "2"]);
    served.with_server(&["publish"]);
    for counter in [1, 2] {
        served.publish(&served.release(counter), &["stable"]);
    }
    served.with_server(&["withdraw", COMPATIBLE, "2"]);
    let release = served.release(2);
    let sign = ["sign", release.to_str().unwrap(), "--channel", "stable"];
    let refusal = said(&served.command(&served.publisher(), &sign).output().unwrap());
    assert!(refusal.starts_with("release 2 is not listed now: version "), "{refusal}");
    assert!(refusal.ends_with("run this again with --relist-withdrawn"), "{refusal}");

    let key = served.publisher().join("keys/second.pem");
    let elsewhere = served.folder.path().join("second.pem");
    fs_err::rename(&key, &elsewhere).unwrap();
    let asked = [&sign[..], &["--relist-withdrawn"]].concat();
    let lacks = served.command(&served.publisher(), &asked).output().unwrap();
    assert_eq!(lacks.status.code(), Some(4), "{lacks:?}");
    fs_err::rename(&elsewhere, &key).unwrap();
    let preview = served.payload(&["sign", "--dry-run"]);
    assert!(preview.to_string().contains("again      release 2 is not listed now"), "{preview}");
    served.payload(&["sign"]);

    let server = ["--server", &served.url, "--token", &served.token];
    let verb = |words: &[&str]| {
        served.command(&served.publisher(), &[words, &server].concat()).output().unwrap()
    };
    let refusal = said(&verb(&["publish"]));
    assert!(refusal.ends_with("run this again with --relist-withdrawn"), "{refusal}");
    for others in [&["renew"][..], &["withdraw", COMPATIBLE, "1"]] {
        let refusal = said(&verb(others));
        assert!(refusal.contains("(`payload publish --relist-withdrawn`)"), "{refusal}");
    }
    assert_eq!(served.offered(), [1]);
    assert!(verb(&["publish", "--relist-withdrawn"]).status.success());
    assert_eq!(served.offered(), [1, 2]);
}
