//! The Debian packages, installed in a clean Debian and taken out again.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;
use seesaw_harness::image::{EPOCH, ImageStore};
use seesaw_harness::packages;
use seesaw_harness::programs::{programs, target_dir};

const PACKAGES: [&str; 3] = ["seesaw-agent", "seesaw-server", "seesaw-tools"];
const UNITS: [&str; 2] = ["update-agent.service", "update-server.service"];

/// A Debian of the packages that images begin with.
struct Debian(tempfile::TempDir);

impl Debian {
    fn new() -> Self {
        packages::ensure(&[packages::IMAGES, packages::DEB], |_| {}).unwrap();
        let images = target_dir().join("images");
        let base = ImageStore::open(&images).unwrap().base().unwrap();
        let debian = Self(tempfile::tempdir_in(images).unwrap());
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(debian.0.path()).args(["--numeric-owner", "--exclude=./dev/*", "-xpf"]);
        succeed(tar.arg(base));
        // Images leave documentation out; here everything is to be seen.
        fs::remove_dir_all(debian.path("etc/dpkg/dpkg.cfg.d")).unwrap();
        // A shell would make a file of it.
        succeed(Command::new("mknod").arg(debian.path("dev/null")).args(["c", "1", "3"]));
        debian
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    fn run(&self, words: &[&str]) -> Output {
        // The mount ends with the command.
        let enter = r#"mount --bind /proc "$0/proc" && exec chroot "$0" "$@""#;
        let mut unshare = Command::new("unshare");
        unshare.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        unshare.args(["--mount", "sh", "-c", enter]).arg(self.0.path());
        unshare.args(words).output().unwrap()
    }

    /// What a command prints, which ends well and complains of nothing.
    fn ask(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Every path below it, without what dpkg and its logs remember and what a boot forgets.
    fn paths(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        walk(self.0.path(), self.0.path(), &mut found);
        let forgotten = ["/var/lib/dpkg/", "/var/log/", "/var/cache/", "/run/"];
        found.retain(|path| !forgotten.iter().any(|folder| path.starts_with(folder)));
        found
    }

    fn is_enabled(&self, unit: &str) -> bool {
        let wants = format!("etc/systemd/system/multi-user.target.wants/{unit}");
        self.path(&wants).symlink_metadata().is_ok()
    }
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.insert(format!("/{}", path.strip_prefix(root).unwrap().display()));
        if path.symlink_metadata().unwrap().is_dir() {
            walk(root, &path, found);
        }
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[test]
fn packages_come_whole_and_leave_state_only() {
    let debian = Debian::new();
    let before = debian.paths();
    let folder = debian.path("opt");
    for package in seesaw_packaging::all(&programs().unwrap()).unwrap() {
        let file = package.build(EPOCH, &folder).unwrap();
        let inside = format!("/opt/{}", file.file_name().unwrap().to_str().unwrap());
        let installed = debian.run(&["dpkg", "--install", &inside]);
        assert!(installed.status.success(), "{installed:?}");
        fs::remove_file(file).unwrap();
    }

    assert_eq!(debian.ask(&[&["dpkg", "--verify"], &PACKAGES[..]].concat()), "");
    for program in ["update-agent", "updatectl", "update-server", "payload"] {
        let version = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(debian.ask(&[program, "--version"]), version);
    }
    for unit in UNITS {
        assert!(debian.is_enabled(unit), "{unit}");
        assert_eq!(debian.ask(&["systemd-analyze", "verify", "--man=no", unit]), "");
    }
    let security = ["systemd-analyze", "security", "--offline=yes", "--threshold=15"];
    debian.ask(&[&security[..], &["update-server.service"]].concat());
    serve_state(&debian);

    for words in [&["dpkg", "--remove"][..], &["dpkg", "--purge"]] {
        let removed = debian.run(&[words, &PACKAGES[..]].concat());
        assert!(removed.status.success(), "{removed:?}");
        let left: Vec<_> = debian.paths().difference(&before).cloned().collect();
        let state = ["/var/lib/seesaw", "/var/lib/seesaw-server"];
        let other = left.iter().filter(|path| !state.iter().any(|folder| path.starts_with(folder)));
        assert_eq!(other.collect::<Vec<_>>(), [""; 0]);
        assert!(left.iter().any(|path| path.ends_with("/timestamp.key")), "{left:?}");
        assert!(UNITS.iter().all(|unit| !debian.is_enabled(unit)));
    }
}

/// The folder is the server's user's alone, who makes a server in it.
fn serve_state(debian: &Debian) {
    let data = debian.path("var/lib/seesaw-server");
    let user = debian.ask(&["id", "-u", "seesaw-server"]);
    let metadata = fs::metadata(&data).unwrap();
    assert_eq!(
        (metadata.permissions().mode() & 0o7777, metadata.uid().to_string()),
        (0o700, user.trim().to_owned())
    );
    let init = [
        "update-server",
        "init",
        "--data",
        "/var/lib/seesaw-server",
        "--token-file",
        "/var/lib/seesaw-server/token",
    ];
    let made = debian.run(&[&["runuser", "-u", "seesaw-server", "--"], &init[..]].concat());
    assert!(made.status.success(), "{made:?}");
    assert!(data.join("timestamp.key").exists());
}
