//! Keys of every role are rotated with the programs themselves.

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
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
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
