//! What the `payload` program tells of costs: of a delta by files.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use payload_tools::testing::{noise, osrel, uki};
use serde_json::Value;

/// Releases 1 and 2, each of an ext4 file system and a kernel image.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Self {
        let workshop = Self(tempfile::tempdir().unwrap());
        for (release, counter, seed) in [("1", 1, 1), ("2", 2, 2)] {
            let text = osrel("demo-x86_64", release, counter);
            let sections: [(&str, &[u8]); 3] = [
                (".osrel", text.as_bytes()),
                (".cmdline", b"quiet panic=10"),
                (".linux", &noise(7, 60_000)),
            ];
            fs_err::write(workshop.path("os.efi"), uki(&sections)).unwrap();
            let root = format!("{release}.ext4");
            workshop.put("usr/bin/same", &[&b"\x7FELF"[..], &noise(9, 700_000)].concat());
            workshop.put("usr/lib/modules/6.1/net.ko", &noise(seed, 100_000));
            workshop.put("etc/release", release.as_bytes());
            workshop.mke2fs(&root);
            let build = ["build", "--compatible=demo-x86_64", "--kernel=os.efi"];
            let of = ["--release", release, "--counter", release, "--root", &root];
            let out = format!("--out=release-{release}");
            workshop.json(&[&build[..], &of, &[&out]].concat(), 0);
        }
        workshop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.path("tree").join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    /// The tree as it is now.
    fn mke2fs(&self, name: &str) {
        let mut command = Command::new("mke2fs");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin")).current_dir(self.0.path());
        let options = "-q -F -t ext4 -b 4096 -m 0 -O ^has_journal -d tree";
        command.args(options.split(' ')).args([name, "6144k"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().expect("this test needs mke2fs (package e2fsprogs)");
        assert!(status.success(), "{command:?}");
    }

    fn payload(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_payload"))
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    fn json(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.payload(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn words(&self, arguments: &[&str]) -> String {
        let output = self.payload(arguments);
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str], code: i32) -> String {
        self.json(arguments, code)["error"]["messages"].to_string()
    }

    /// The delta of the root, made in release 2.
    fn delta(&self) -> String {
        let made = self.json(&["delta", "release-1", "release-2"], 0);
        let deltas = made["deltas"].as_array().unwrap();
        let root = deltas.iter().find(|delta| delta["role"] == "root").unwrap();
        root["file"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_delta_is_told_by_files_to_who_has_the_new_image() {
    let workshop = Workshop::new();
    let delta = workshop.delta();
    let found = workshop.json(&["inspect", &delta, "--image=release-2", "--old=release-1"], 0);
    let spent = &found["spent"];
    assert_eq!(spent["files"][0]["path"], "usr/lib/modules/6.1/net.ko");
    assert_eq!(spent["files"][0]["class"], "kernel_module");
    let classes = spent["classes"].as_object().unwrap();
    let sum: u64 = classes.values().map(|class| class["bytes"].as_u64().unwrap()).sum();
    assert_eq!(found["size"], sum + spent["head"].as_u64().unwrap(), "{found}");
    // An image is as good as the release with it.
    let of_image = workshop.json(&["inspect", &delta, "--image=2.ext4", "--old=1.ext4"], 0);
    assert_eq!(&of_image["spent"], spent);
    let one = ["inspect", &delta, "--image=2.ext4", "--top=1"];
    let said = workshop.words(&one);
    assert!(said.contains("for the delta's own head\n"), "{said}");
    assert!(said.contains("kernel modules\n"), "{said}");
    let of = spent["files_count"].as_u64().unwrap();
    assert!(said.contains(&format!("the most expensive files, 1 of {of}:\n")), "{said}");
    assert_eq!(said.matches("net.ko").count(), 1, "{said}");
    assert!(!said.contains("usr/bin/same"), "{said}");
    // Nothing of this without an image.
    assert_eq!(workshop.json(&["inspect", &delta], 0).get("spent"), None);
}

#[test]
fn a_delta_is_not_told_by_files_of_another_image() {
    let workshop = Workshop::new();
    let delta = workshop.delta();
    let inspect =
        |arguments: &[&str], code| workshop.refused(&[&["inspect"], arguments].concat(), code);
    let said = inspect(&[&delta, "--image=release-1"], 3);
    assert!(said.contains("release-1 has no image with the tree root"), "{said}");
    let said = inspect(&[&delta, "--image=2.ext4", "--old=2.ext4"], 3);
    assert!(said.contains("is made of other content than the old image has there"), "{said}");
    let said = inspect(&[&delta, "--image=1.ext4", "--old=1.ext4"], 3);
    assert!(said.contains("makes other bytes than the new image has"), "{said}");
    let said = inspect(&[&delta, "--image=os.efi"], 3);
    assert!(said.contains("and the delta is for one of 6291456"), "{said}");
    let said = inspect(&["release-2", "--image=2.ext4"], 2);
    assert!(said.contains("release-2 is no delta, and --image tells of deltas only"), "{said}");
    assert!(inspect(&[&delta, "--image=absent"], 1).contains("there is no absent"));
    assert_eq!(workshop.payload(&["inspect", &delta, "--old=1.ext4"]).status.code(), Some(2));
}
