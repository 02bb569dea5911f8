//! The `payload` program as people and scripts use it: its words, its JSON, its
//! exit codes, and files that other programs read.

mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use payload_tools::testing::{osrel, uki};
use program::Workshop;
use serde_json::Value;

impl Workshop {
    fn new() -> Self {
        let workshop = Self::empty();
        let text = osrel("demo-x86_64", "2", 2);
        let sections: [(&str, &[u8]); 2] =
            [(".osrel", text.as_bytes()), (".cmdline", b"quiet panic=10")];
        fs_err::write(workshop.path("os.efi"), uki(&sections)).unwrap();
        let mut root: Vec<u8> = (0..5 << 20u32).map(|n| (n / 61) as u8).collect();
        root[1 << 20..4 << 20].fill(0);
        fs_err::write(workshop.path("root.img"), root).unwrap();
        workshop
    }

    /// A workshop in which release 2 was built.
    fn built() -> Self {
        let workshop = Self::new();
        workshop.json(&BUILD, 0);
        workshop
    }

    fn flip(&self, path: &Path, at: u64) {
        let mut bytes = fs_err::read(path).unwrap();
        bytes[at as usize] ^= 1;
        fs_err::write(path, bytes).unwrap();
    }

    fn full(&self, role: &str) -> PathBuf {
        let found = self.json(&["inspect", "release-2"], 0);
        let images = found["images"].as_array().unwrap();
        let image = images.iter().find(|image| image["role"] == role).unwrap();
        self.path("release-2/images").join(image["root"].as_str().unwrap()).join("full")
    }
}

const BUILD: [&str; 7] = [
    "build",
    "--compatible=demo-x86_64",
    "--release=2",
    "--counter=2",
    "--kernel=os.efi",
    "--root=root.img",
    "--out=release-2",
];

#[test]
fn a_release_in_words() {
    let workshop = Workshop::built();
    insta::assert_snapshot!(workshop.words(&["inspect", "release-2"]), @r"
    release 2 for demo-x86_64, counter 2, built 2026-11-01T00:00:00Z
      kernel         4096 bytes  tree root cc52057f07efae0cb9ba320f615d03eea281cb265c669f1d5d76d52713c6f975
      root        5242880 bytes  tree root de0c708b360146ecabfc2e3199fcb8fe15c033c077549848e39e76f337e5fcd4
      manifest sha256 9da1bcd6a063d859c32815382a27f7552f541aa453255ab9b105f951cecf557f
      kernel          219 bytes of payload, segments: 1, zero block groups: 0 of 1
      root          10007 bytes of payload, segments: 2, zero block groups: 6 of 10
      to be signed: channels stable
      not signed
    ");
    insta::assert_snapshot!(workshop.words(&["inspect", "os.efi"]), @r"kernel image of release 2 for demo-x86_64, counter 2, built 2026-11-01T00:00:00Z");
    insta::assert_snapshot!(workshop.words(&["verify", "release-2"]), @r"
    release 2 for demo-x86_64, counter 2, is whole
      kernel         4096 bytes  tree root cc52057f07efae0cb9ba320f615d03eea281cb265c669f1d5d76d52713c6f975
      root        5242880 bytes  tree root de0c708b360146ecabfc2e3199fcb8fe15c033c077549848e39e76f337e5fcd4
      signatures were not checked (see --first-root)
    ");
    let full = workshop.full("root");
    insta::assert_snapshot!(workshop.words(&["inspect", full.to_str().unwrap()]), @r"
    full payload of an image of 5242880 bytes
      9974 bytes, frames: 2
    ");
}

#[test]
fn facts_to_sign_come_from_the_options() {
    let workshop = Workshop::new();
    let more = ["--channel=beta", "--channel=stable", "--min-from=1", "--floor"];
    let range = ["--downgrade-from", "3", "5"];
    let expires = ["--downgrade-expires=2027-01-01T00:00:00Z"];
    let without_end = workshop.payload(&[&BUILD[..], &range].concat());
    assert_eq!(without_end.status.code(), Some(2), "{without_end:?}");
    let soon = [&BUILD[..], &range, &["--downgrade-expires=tomorrow"]].concat();
    let said = String::from_utf8(workshop.payload(&soon).stderr).unwrap();
    assert!(said.contains("give a time as in 2027-01-01T00:00:00Z"), "{said}");
    workshop.json(&[&BUILD[..], &more, &range, &expires].concat(), 0);
    let facts = &workshop.json(&["inspect", "release-2"], 0)["facts"];
    assert_eq!(facts["channels"], serde_json::json!(["beta", "stable"]));
    assert_eq!((&facts["min_from"], &facts["floor"]), (&1.into(), &true.into()));
    let range = serde_json::json!({ "lo": 3, "hi": 5, "expires": "2027-01-01T00:00:00Z" });
    assert_eq!(facts["downgrade_from"], range);
}

#[test]
fn exit_codes_tell_a_wrong_command_from_a_wrong_file() {
    let workshop = Workshop::built();
    assert_eq!(workshop.payload(&["build", "--release=2"]).status.code(), Some(2));
    let exists = workshop.json(&BUILD, 2);
    assert_eq!(exists["error"]["hint"], "remove it, or name another with --out");
    for absent in [
        &["inspect", "absent"][..],
        &["verify", "absent"],
        &["verify", "release-2", "--first-root=absent"],
        &["bundle", "absent", "--out=x"],
        &["sign", "absent"],
        &["delta", "absent", "release-2"],
        &["disk", "create", "--release=release-2", "--esp=absent", "--out=x"],
    ] {
        let said = workshop.json(absent, 1);
        assert_eq!(said["error"]["messages"], serde_json::json!(["there is no absent"]));
    }
    for verb in [&["verify", "."][..], &["bundle", ".", "--out=x"], &["sign", "."]] {
        let said = workshop.json(verb, 3);
        assert_eq!(said["error"]["messages"][0], ". has no manifest.json");
        assert_eq!(said["error"]["hint"], "give a folder that `payload build` made, or a bundle");
    }
    workshop.json(&["inspect", "root.img"], 3);
    let mut other = BUILD;
    (other[3], other[6]) = ("--counter=3", "--out=other");
    let refused = workshop.payload(&other);
    assert_eq!(refused.status.code(), Some(3));
    let refused = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.contains("its .osrel has SEESAW_COUNTER=2, the release has 3"), "{refused}");
    assert!(refused.contains("hint: build the kernel image for this release"), "{refused}");
}

#[test]
fn without_a_token_no_server_is_asked() {
    let workshop = Workshop::new();
    let mut renew = Command::new(env!("CARGO_BIN_EXE_payload"));
    for name in ["SEESAW_TOKEN", "SEESAW_TOKEN_FILE"] {
        renew.env_remove(name);
    }
    let output = renew.arg("renew").current_dir(workshop.folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("an admin token is needed; give --token-file"), "{said}");
}

#[test]
fn the_zstd_program_gives_the_image_back() {
    let workshop = Workshop::built();
    let full = workshop.full("root");
    let output = Command::new("zstd").args(["-d", "-c", "-q"]).stdin(open(&full)).output();
    let output = output.expect("zstd (package zstd) is needed");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout == fs_err::read(workshop.path("root.img")).unwrap());
}

fn open(path: &Path) -> std::fs::File {
    fs_err::File::open(path).unwrap().into_parts().0
}

#[test]
fn a_changed_byte_is_refused_with_its_place() {
    for (role, at, segment) in [("root", 1000, 0), ("root", 9000, 1), ("kernel", 100, 0)] {
        let workshop = Workshop::built();
        let full = workshop.full(role);
        workshop.flip(&full, at);
        let refused = workshop.json(&["verify", "release-2"], 3);
        let messages = &refused["error"]["messages"];
        let file = full.strip_prefix(workshop.path("release-2")).unwrap().display();
        let wanted = format!("{file}, the full payload of the {role} image, is refused");
        assert_eq!(messages[0], wanted);
        let place = messages[1].as_str().unwrap();
        assert!(place.starts_with(&format!("segment {segment} of the payload ")), "{place}");
        let hint = refused["error"]["hint"].as_str().unwrap();
        assert!(hint.starts_with("build the release again"), "{hint}");
    }
}

/// The words are those of the process that is locked in for it.
#[test]
fn no_payload_is_decoded_where_keys_may_lie() {
    let workshop = Workshop::built();
    workshop.flip(&workshop.full("root"), 0);
    fs_err::write(workshop.path("selector.efi"), uki(&[])).unwrap();
    let disk = ["disk", "create", "--release=release-2", "--esp=selector.efi", "--out=disk.img"];
    for verb in [&["verify", "release-2"][..], &["simulate", "release-2", "release-2"], &disk] {
        let refused = workshop.payload(verb);
        assert!(!refused.status.success(), "{refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("the decoder refused the segment: the segment is not a"), "{said}");
    }
}

#[test]
fn a_manifest_that_says_something_else_than_the_kernel_is_refused() {
    let changes = [
        ("\"counter\": 2", "\"counter\": 3", "SEESAW_COUNTER"),
        ("\"release\": \"2\"", "\"release\": \"3\"", "IMAGE_VERSION"),
        ("2026-11-01", "2026-11-02", "SEESAW_BUILT"),
    ];
    for (from, to, wanted) in changes {
        let workshop = Workshop::built();
        let path = workshop.path("release-2/manifest.json");
        let manifest = fs_err::read_to_string(&path).unwrap().replacen(from, to, 1);
        fs_err::write(path, manifest).unwrap();
        let refused = workshop.json(&["verify", "release-2"], 3)["error"]["messages"].to_string();
        assert!(refused.contains(wanted), "{refused}");
    }
}

#[test]
fn a_bundle_is_verified_as_its_folder_is() {
    let workshop = Workshop::built();
    let made = workshop.words(&["bundle", "release-2", "--out=2.bundle"]);
    assert!(made.contains("no device will take it"), "{made}");
    let folder = workshop.json(&["verify", "release-2"], 0);
    assert_eq!(workshop.json(&["verify", "2.bundle"], 0), folder);
    let again = workshop.json(&["bundle", "release-2", "--out=2.bundle"], 2);
    assert_eq!(again["error"]["hint"], "remove it, or name another with --out");
    assert_eq!(folder["signed"], "not_checked");
    let mut bytes = fs_err::read(workshop.path("2.bundle")).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs_err::write(workshop.path("2.bundle"), bytes).unwrap();
    workshop.json(&["verify", "2.bundle"], 3);
}

/// From keys to a bundle that a device believes, by its first root alone.
#[test]
fn a_signed_bundle_is_believed_and_a_changed_one_is_not() {
    let workshop = begun();
    workshop.json(&["sign", "release-2", "--channel=beta"], 0);
    workshop.json(&["bundle", "release-2", "--out=2.bundle"], 0);
    let said = workshop.words(&["inspect", "2.bundle"]);
    assert!(said.contains("signed, unchecked here: channels stable, beta\n"), "{said}");
    assert!(!said.contains("to be signed"), "{said}");
    let no_root = ["verify", "2.bundle", "--first-root=os.efi"];
    let refused = workshop.json(&no_root, 3)["error"]["messages"].to_string();
    assert!(refused.contains("that the file is the one that was meant"), "{refused}");
    let verify = ["verify", "2.bundle", "--first-root=metadata/1.root.json"];
    assert_eq!(workshop.json(&verify, 0)["signed"], "verified");
    // What is signed for a bundle is in the bundle alone: a publisher's folder names it once it is
    // published.
    let unpublished = ["bundle", "release-2", "--metadata=metadata", "--out=other.bundle"];
    let refused = workshop.json(&unpublished, 3)["error"].to_string();
    assert!(refused.contains("does not list release 2"), "{refused}");
    assert!(refused.contains("`payload sign`"), "{refused}");
    assert!(!workshop.path("other.bundle").exists());
    // A manifest of the same meaning whose bytes were never signed.
    let manifest = workshop.path("release-2/manifest.json");
    let mut changed = fs_err::read(&manifest).unwrap();
    changed.push(b'\n');
    fs_err::write(&manifest, changed).unwrap();
    workshop.json(&["verify", "release-2"], 0);
    workshop.json(&["verify", "release-2", "--first-root=metadata/1.root.json"], 3);
}

#[test]
fn a_key_that_is_not_the_roles_signs_nothing() {
    let workshop = begun();
    fs_err::copy(workshop.path("keys/root.pem"), workshop.path("keys/demo-x86_64.pem")).unwrap();
    let output = workshop.payload(&["sign", "release-2"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no key at hand signs for demo-x86_64: targets lists "), "{said}");
    assert!(!said.contains("Signing"), "{said}");
}

/// A repository of one compatible, with every key in the workshop.
fn begun() -> Workshop {
    let workshop = Workshop::built();
    workshop.json(&["keygen", "--compatible=demo-x86_64"], 0);
    let timestamp =
        "--timestamp-key=d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    workshop.json(&["init", "--compatible=demo-x86_64", timestamp], 0);
    workshop
}

/// At a terminal, which `script` (package bsdutils) makes, nothing is signed without a yes.
#[test]
fn who_sits_at_a_terminal_is_asked_before_anything_is_signed() {
    use std::io::Write as _;
    let workshop = begun();
    let signed = workshop.path("release-2/metadata");
    let line = format!("{} sign release-2", env!("CARGO_BIN_EXE_payload"));
    for (answer, exit) in [("n\n", 1), ("\n", 1), ("y\n", 0)] {
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        script.current_dir(workshop.folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().expect("script (package bsdutils) is needed");
        script.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let output = script.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("release    2 (counter 2)"), "{said}");
        assert!(said.contains("Sign this? [y/N]"), "{said}");
        assert_eq!(output.status.code(), Some(exit), "{said}");
        assert_eq!(signed.exists(), exit == 0, "{answer:?}");
    }
    let both = workshop.payload(&["sign", "release-2", "--yes", "--dry-run"]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}

#[test]
fn a_repository_says_who_signs_what_and_until_when() {
    let workshop = begun();
    let said = workshop.words(&["inspect", "."]);
    let found = workshop.json(&["inspect", "."], 0);
    let root = &found["roles"][0];
    let (id, expires) =
        (root["keys"][0]["id"].as_str().unwrap(), root["expires"].as_str().unwrap());
    let wanted = format!(
        "root: 1 of 1 must sign; version 1 is good until {expires}\n  key {}  has signed  at hand\n",
        &id[..16]
    );
    assert!(said.starts_with(&wanted), "{said}");
    assert!(said.contains("snapshot: 1 of 1 must sign; not published yet\n"), "{said}");
    assert!(said.contains("timestamp: 1 of 1 must sign; the server does, hourly\n"), "{said}");
    assert!(said.contains("  releases: none\n"), "{said}");
    // A release folder has metadata too, and is shown as what it is.
    workshop.json(&["sign", "release-2"], 0);
    assert_eq!(workshop.json(&["inspect", "release-2"], 0)["kind"], "release");
    // Keys in another folder, a change, and what it waits for.
    fs_err::rename(workshop.path("keys"), workshop.path("elsewhere")).unwrap();
    workshop.json(&["role", "threshold", "root", "2"], 1);
    let new = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";
    workshop.json(&["key", "add", "root", new, "--threshold=2"], 0);
    let waits = workshop.words(&["inspect", "."]);
    let wanted = "draft: root version 2 is signed by 0 of 2 keys of root 2, 2 of ";
    assert!(waits.contains(wanted) && !waits.contains("at hand"), "{waits}");
    assert_eq!(workshop.json(&["sign", "--keys=elsewhere"], 0)["complete"], false);
    workshop.json(&["key", "revoke", "root", &id[..7]], 2);
    workshop.json(&["draft", "discard"], 0);
    workshop.json(&["draft", "show"], 1);
}

/// Releases 1 and 2, whose roots are alike, and the delta from one to the other.
fn workshop_with_delta() -> (Workshop, Value) {
    let workshop = Workshop::built();
    let text = osrel("demo-x86_64", "1", 1);
    let sections: [(&str, &[u8]); 2] =
        [(".osrel", text.as_bytes()), (".cmdline", b"quiet panic=10")];
    fs_err::write(workshop.path("os.efi"), uki(&sections)).unwrap();
    let mut root = fs_err::read(workshop.path("root.img")).unwrap();
    root.drain(..8192);
    root.extend([1; 4097]);
    fs_err::write(workshop.path("old.img"), root).unwrap();
    let mut build = BUILD;
    (build[2], build[3]) = ("--release=1", "--counter=1");
    (build[5], build[6]) = ("--root=old.img", "--out=release-1");
    workshop.json(&build, 0);
    let made = workshop.json(&["delta", "release-1", "release-2"], 0);
    (workshop, made)
}

#[test]
fn a_delta_of_two_releases_goes_into_the_new_one() {
    let (workshop, made) = workshop_with_delta();
    let deltas = made["deltas"].as_array().unwrap();
    assert_eq!(deltas.len(), 2, "{made}");
    for delta in deltas {
        let file = delta["file"].as_str().unwrap();
        let (from, to) = (delta["from_root"].as_str().unwrap(), delta["to_root"].as_str().unwrap());
        assert_eq!(file, format!("release-2/images/{to}/delta/{from}"));
        let found = workshop.json(&["inspect", file], 0);
        assert_eq!(found["kind"], "delta");
        assert_eq!((&found["size"], &found["kinds"]), (&delta["size"], &delta["kinds"]));
        let len = fs_err::metadata(workshop.path(file)).unwrap().len();
        assert_eq!(found["size"], len);
        assert!(len < delta["full_size"].as_u64().unwrap(), "{delta}");
    }
    let root = deltas.iter().find(|delta| delta["role"] == "root").unwrap();
    insta::assert_snapshot!(workshop.words(&["inspect", root["file"].as_str().unwrap()]), @r"
    delta payload of 130 bytes
      from      5242880 bytes  tree root 1f42169e00b3810294bf1b64b23c4fa04d139993b429fc214206363f923b071b
      to        5242880 bytes  tree root de0c708b360146ecabfc2e3199fcb8fe15c033c077549848e39e76f337e5fcd4
                34 bytes make      5242880, segments:     2, copied
    ");
    let release = workshop.words(&["inspect", "release-2"]);
    assert!(release.contains("bytes of delta from"), "{release}");
    let again = workshop.json(&["delta", "release-1", "release-2"], 0);
    for (kept, delta) in again["deltas"].as_array().unwrap().iter().zip(deltas) {
        assert_eq!((&kept["kept"], &delta["kept"]), (&true.into(), &false.into()));
        assert_eq!((&kept["file"], &kept["size"]), (&delta["file"], &delta["size"]));
    }
    // Deltas are no part of what is bundled.
    workshop.json(&["bundle", "release-2", "--out=2.bundle"], 0);
    workshop.json(&["verify", "2.bundle"], 0);
}

/// Who has no old image cannot see what a delta makes; its head says of what it is.
#[test]
fn deltas_are_verified_by_their_heads_and_that_is_said() {
    let (workshop, made) = workshop_with_delta();
    let said = workshop.words(&["verify", "release-2"]);
    assert!(said.contains("deltas: 2, of which only the heads were checked"), "{said}");
    let file = workshop.path(made["deltas"][0]["file"].as_str().unwrap());
    for at in [0, 8, 30, 88] {
        workshop.flip(&file, at);
        let refused = workshop.json(&["verify", "release-2"], 3)["error"]["messages"].to_string();
        assert!(refused.contains("/delta/") && refused.contains("is damaged"), "{at}: {refused}");
        workshop.flip(&file, at);
    }
    assert_eq!(workshop.json(&["verify", "release-2"], 0)["delta_heads"], 2);
}

#[test]
fn a_delta_of_two_images_is_that_of_their_releases() {
    let (workshop, made) = workshop_with_delta();
    let images = ["delta", "old.img", "root.img", "--compatible=demo-x86_64", "-o", "root.delta"];
    workshop.json(&images, 0);
    let deltas = made["deltas"].as_array().unwrap();
    let root = deltas.iter().find(|delta| delta["role"] == "root").unwrap();
    let file = fs_err::read(workshop.path(root["file"].as_str().unwrap())).unwrap();
    assert!(fs_err::read(workshop.path("root.delta")).unwrap() == file);
    // An empty tar file begins with zeroes, as an ext4 image does.
    fs_err::write(workshop.path("zeroes.img"), [0; 8192]).unwrap();
    for (old, new) in [("old.img", "root.img"), ("zeroes.img", "zeroes.img")] {
        let refused = workshop.json(&["delta", old, new], 2)["error"]["messages"].to_string();
        assert!(refused.contains("two images need --compatible and --out"), "{refused}");
    }
    let cut = workshop.path("cut.delta");
    fs_err::write(&cut, &file[..50]).unwrap();
    workshop.json(&["inspect", "cut.delta"], 3);
    fs_err::write(&cut, &file[..file.len() - 1]).unwrap();
    let refused = workshop.json(&["inspect", "cut.delta"], 3)["error"]["messages"].to_string();
    assert!(refused.contains("the delta is damaged"), "{refused}");
}
