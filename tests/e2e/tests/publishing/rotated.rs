//! Keys of every role are rotated with the programs themselves.

use payload_tools::format::Hash;
use payload_tools::trust::UnixTime;
use seesaw_e2e::image_file::FAKETIME;
use serde_json::{Value, json};

use crate::served::{COMPATIBLE, Served};

impl Served {
    /// Puts a new key in the place of each role's, root's first key excepted, which then signs with two
    /// others: 2 of 3.
    pub fn rotate_everything(&self) {
        let [targets, snapshot, demo] =
            ["targets-2", "snapshot-2", "demo-2"].map(|name| self.new_key(name));
        let [ann, bob] = ["ann", "bob"].map(|name| self.new_key(name));
        let next = self.in_data_folder(&["timestamp-key"]);
        let next = next["timestamp_key"].as_str().unwrap().to_owned();
        let old = |role: &str| self.keys_of(role)[0].clone();
        for (role, new) in [
            ("targets", &targets),
            ("snapshot", &snapshot),
            (COMPATIBLE, &demo),
            ("timestamp", &next),
        ] {
            self.payload(&["key", "rotate", role, &old(role), new]);
        }
        let added = self.payload(&["key", "add", "root", &ann, &bob, "--threshold", "2"]);
        assert_eq!(added["complete"], false);
        let published = self.with_server(&["publish"]);
        assert_eq!(published["expires"].as_array().unwrap().len(), 4);
    }

    /// Makes a key of that name in the publisher's folder; its public half.
    fn new_key(&self, name: &str) -> String {
        let made = self.payload(&["keygen", "--name", name]);
        made["keys"][0]["public"].as_str().unwrap().to_owned()
    }

    /// What `payload inspect` says of the publisher's folder.
    pub fn inspected(&self) -> Value {
        self.payload_alone(&["inspect", self.publisher().to_str().unwrap()])
    }

    /// The ids of a role's keys.
    fn keys_of(&self, role: &str) -> Vec<String> {
        let found = self.inspected();
        let found = found["roles"].as_array().unwrap().iter().find(|of| of["role"] == role);
        let keys = found.unwrap()["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn every_role_is_rotated_while_devices_go_on() {
    let mut served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    let before: Vec<_> =
        ["targets", "snapshot", COMPATIBLE, "timestamp"].map(|role| served.keys_of(role)).into();
    served.rotate_everything();
    assert_eq!(served.offered(), [1]);
    let after: Vec<_> =
        ["targets", "snapshot", COMPATIBLE, "timestamp"].map(|role| served.keys_of(role)).into();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{after:?}");
    let inspected = served.inspected();
    let root = &inspected["roles"][0];
    assert_eq!((&root["version"], &root["threshold"]), (&json!(2), &json!(2)));
    assert_eq!(root["keys"].as_array().unwrap().len(), 3);
    assert_eq!(inspected["draft"], json!([]));
    served.publish(&served.release(2), &["stable"]);
    assert_eq!(served.offered(), [1, 2]);
    // The server goes on with its next key when it starts again, and can be given another.
    served.serve(&served.data());
    served.publish(&served.release(3), &["stable"]);
    assert_eq!(served.offered(), [1, 2, 3]);
    let another = served.in_data_folder(&["timestamp-key"])["timestamp_key"].clone();
    let present = fs_err::read_to_string(served.data().join("timestamp.pub")).unwrap();
    assert_ne!(another, present.trim());
    assert_eq!(served.in_data_folder(&["timestamp-key"])["timestamp_key"], another);
}

#[test]
fn what_has_too_few_signatures_is_refused_by_the_names_of_the_keys() {
    let served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    served.rotate_everything();
    let elsewhere = served.folder.path().join("elsewhere");
    fs_err::create_dir(&elsewhere).unwrap();
    for name in ["ann.pem", "ann.pub", "bob.pem", "bob.pub"] {
        fs_err::rename(served.publisher().join("keys").join(name), elsewhere.join(name)).unwrap();
    }
    let refused = served.renew_with(&served.token, &["--root"]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    let said = String::from_utf8(refused.stdout).unwrap();
    let ids = served.keys_of("root");
    assert!(said.contains("root version 3 is signed by 1 of 2 keys of root 2"), "{said}");
    assert!(ids.iter().all(|id| said.contains(&id[..16])), "{said}");
    // A release need not wait for it, and what it changes is not lost.
    served.publish(&served.release(2), &["stable"]);
    assert_eq!(served.offered(), [1, 2]);
    let shown = served.payload(&["draft", "show"]);
    assert_eq!((&shown["papers"][0]["role"], &shown["complete"]), (&json!("root"), &json!(false)));
    // Nothing is signed when it is to be shown only.
    let keys = elsewhere.to_str().unwrap();
    let papers = served.payload(&["sign", "--keys", keys, "--dry-run"])["papers"].clone();
    assert_eq!(papers[0]["keys"].as_array().unwrap().len(), 1, "{papers}");
    assert_eq!(served.payload(&["draft", "show"])["signatures"], shown["signatures"]);
    assert_eq!(served.payload(&["sign", "--keys", keys])["complete"], true);
    served.with_server(&["publish"]);
    assert!(served.device_sees().files_to_store().contains_key("3.root.json"));
}

#[test]
fn a_dry_run_publishes_nothing() {
    let served = Served::new();
    let release = served.release(1);
    let release = release.to_str().unwrap();
    let shown = served.with_server(&["publish", release, "--channel", "stable", "--dry-run"]);
    let roles: Vec<_> = shown["papers"].as_array().unwrap().iter().map(|p| &p["role"]).collect();
    assert_eq!(roles, [COMPATIBLE, "snapshot"]);
    assert!(shown["papers"][0]["lines"][0].as_str().unwrap().contains("release    1 (counter 1)"));
    assert!(served.get("/v1/metadata/timestamp.json").is_none());
    served.publish(&served.release(1), &["stable"]);
    for verb in [&["renew", "--all"][..], &["withdraw", COMPATIBLE, "1"]] {
        served.with_server(&[verb, &["--dry-run"]].concat());
        assert_eq!(served.offered(), [1]);
        assert!(served.get("/v1/metadata/2.snapshot.json").is_none());
    }
}

/// Nothing that a thief has signed is signed by the key that takes the place of the stolen one.
#[test]
fn what_a_stolen_key_signed_goes_with_it() {
    let served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    let theirs = served.release(66);
    served.publish(&theirs, &["stable"]);
    let (stolen, new) = (served.keys_of(COMPATIBLE)[0].clone(), served.new_key("demo-2"));
    let drafted = served.payload(&["key", "rotate", COMPATIBLE, &stolen[..16], &new]);
    let manifest = Hash::of(&fs_err::read(theirs.join("manifest.json")).unwrap());
    let shown = format!("unchanged  66 (counter 66), manifest {manifest:.16}, channels stable");
    assert_eq!(drafted["papers"][1]["lines"][1], shown, "{drafted}");
    let words = served.payload_in_words(&["inspect", served.publisher().to_str().unwrap()]);
    assert!(words.contains(&shown.replace("unchanged  ", "  release ")), "{words}");

    let targets = served.publisher().join("keys/targets.pem");
    let elsewhere = served.folder.path().join("targets.pem");
    fs_err::rename(&targets, &elsewhere).unwrap();
    let withdraw =
        ["withdraw", COMPATIBLE, "66", "--server", &served.url, "--token", &served.token];
    let refused = served.command(&served.publisher(), &withdraw).output().unwrap();
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    let waits = served.payload(&["draft", "show"])["papers"][1]["lines"].to_string();
    assert!(waits.contains("withdraws  66") && !waits.contains("unchanged  66"), "{waits}");
    assert_eq!(served.offered(), [1, 66]);

    fs_err::rename(&elsewhere, &targets).unwrap();
    served.with_server(&["publish"]);
    assert_eq!(served.offered(), [1]);
    assert_eq!(served.keys_of(COMPATIBLE).len(), 1);
    assert_ne!(served.keys_of(COMPATIBLE)[0], stolen);
}

/// The same with every key at hand: one publication.
#[test]
fn a_release_is_withdrawn_together_with_the_key() {
    let served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    let new = served.new_key("demo-2");
    served.payload(&["key", "rotate", COMPATIBLE, &served.keys_of(COMPATIBLE)[0], &new]);
    let withdrawn = served.with_server(&["withdraw", COMPATIBLE, "1"]);
    assert_eq!((&withdrawn["snapshot"], &withdrawn["left"]), (&2.into(), &0.into()));
    assert_eq!(served.offered(), [0; 0]);
    assert_eq!(served.inspected()["draft"], json!([]));
}

/// The same of a draft that is signed already: nothing of it is left to be in the way.
#[test]
fn a_release_goes_with_a_signed_draft_of_its_role() {
    let served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    let new = served.new_key("demo-2");
    served.payload(&["key", "rotate", COMPATIBLE, &served.keys_of(COMPATIBLE)[0], &new]);
    assert_eq!(served.payload(&["sign"])["complete"], true);
    let published = served.publish(&served.release(2), &["stable"]);
    assert_eq!((&published["snapshot"], served.offered()), (&2.into(), vec![1, 2]));
    assert_eq!(served.inspected()["draft"], json!([]));
    served.publish(&served.release(3), &["stable"]);
}

/// Of two signatures of the snapshot one came late: what is renewed lasts as long as it should.
#[test]
fn a_snapshot_that_waited_for_long_is_made_anew_when_it_is_renewed() {
    for (waited, days) in [("-85d", 90), ("-3d", 87)] {
        let served = Served::new();
        served.publish(&served.release(1), &["stable"]);
        let second = served.new_key("snapshot-2");
        served.payload(&["key", "add", "snapshot", &second, "--threshold", "2"]);
        served.with_server(&["publish"]);
        let key = served.publisher().join("keys/snapshot-2.pem");
        let elsewhere = served.folder.path().join("snapshot-2.pem");
        fs_err::rename(&key, &elsewhere).unwrap();
        let mut renew = served.command(&served.publisher(), &["renew"]);
        renew.args(["--server", &served.url, "--token", &served.token]);
        renew.env("LD_PRELOAD", FAKETIME).env("FAKETIME", waited).env("NO_FAKE_STAT", "1");
        let refused = renew.output().unwrap();
        assert_eq!(refused.status.code(), Some(4), "{refused:?}");
        assert!(served.publisher().join("draft/3.snapshot.json").exists(), "{refused:?}");

        fs_err::rename(&elsewhere, &key).unwrap();
        assert_eq!(served.payload(&["sign"])["complete"], true);
        let before = UnixTime::of_system_clock();
        let renewed = served.renew(&[]);
        let roles = renewed["expires"].as_array().unwrap();
        let snapshot = roles.iter().find(|of| of["role"] == "snapshot").unwrap();
        let expires: UnixTime = snapshot["at"].as_str().unwrap().parse().unwrap();
        let (least, most) = (before.plus_days(days - 1), before.plus_days(days).plus_secs(60));
        assert!(least < expires && expires <= most, "{waited}: {renewed}");
    }
}
