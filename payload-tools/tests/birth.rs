//! The birth of a repository whose root keys are elsewhere.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

struct Desk(tempfile::TempDir);

/// The timestamp key is any.
const INIT: [&str; 7] = [
    "init",
    "--publisher=publisher",
    "--compatible=demo",
    "--timestamp-key=3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29",
    "--key=root=ann/keys/ann.pub",
    "--key=root=bob/keys/bob.pub",
    "--threshold=root=2",
];

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.json(&["keygen", "--publisher=ann", "--name=ann"], 0);
        desk.json(&["keygen", "--publisher=bob", "--name=bob"], 0);
        let own = ["--name=targets", "--name=snapshot", "--compatible=demo"];
        desk.json(&[&["keygen", "--publisher=publisher"], &own[..]].concat(), 0);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn payload(&self, arguments: &[&str]) -> Output {
        let mut payload = Command::new(env!("CARGO_BIN_EXE_payload"));
        payload.args(arguments).arg("--json").current_dir(self.0.path()).output().unwrap()
    }

    fn json(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.payload(arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn a_birth_under_way_is_not_begun_again() {
    let desk = Desk::new();
    assert_eq!(desk.json(&INIT, 0)["begun"], false);
    let sign = ["sign", "--publisher=publisher", "--keys=ann/keys"];
    assert_eq!(desk.json(&sign, 0)["complete"], false);
    let root = || fs_err::read(desk.path("publisher/draft/1.root.json")).unwrap();
    let signed = root();
    for more in [&[][..], &["--dry-run"]] {
        let refused = desk.json(&[&INIT[..], more].concat(), 2)["error"]["messages"].to_string();
        assert!(refused.contains("waits for signatures"), "{refused}");
        assert!(refused.contains("payload draft discard"), "{refused}");
    }
    assert_eq!(root(), signed, "with Ann's signature");
    // A crash while it was written leaves a part of it, and the same way on.
    fs_err::remove_file(desk.path("publisher/draft/1.root.json")).unwrap();
    desk.json(&INIT, 2);
    desk.json(&["draft", "discard", "--publisher=publisher"], 0);
    desk.json(&INIT, 0);
    desk.json(&sign, 0);
    let last = ["sign", "--publisher=publisher", "--keys=bob/keys"];
    assert_eq!(desk.json(&last, 0)["complete"], true);
    assert!(desk.path("publisher/metadata/1.root.json").exists());
}
