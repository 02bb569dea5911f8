//! Root trees of a container host, as its packages were at different times.

use std::path::{Path, PathBuf};
use std::process::Command;

use seesaw_harness::command::run;
use seesaw_harness::image::{EPOCH, Key};
use seesaw_harness::mmdebstrap::mmdebstrap;

use super::Store;
use super::dpkg::Packages;
use crate::{BenchError, at};

/// What such a host has, all kernel modules included.
const PACKAGES: &[&str] = &[
    // The system and its boot.
    "linux-image-amd64",
    "systemd",
    "systemd-sysv",
    "systemd-resolved",
    "dbus",
    "udev",
    // Containers.
    "docker.io",
    "containerd",
    "runc",
    // Networks.
    "openssh-server",
    "nftables",
    "iptables",
    "iproute2",
    "chrony",
    "curl",
    "ca-certificates",
    "ethtool",
    "tcpdump",
    "socat",
    // Disks.
    "e2fsprogs",
    "xfsprogs",
    "btrfs-progs",
    "dosfstools",
    "cryptsetup",
    "lvm2",
    "mdadm",
    "nfs-common",
    "open-iscsi",
    "parted",
    "gdisk",
    // Who looks after it.
    "bash-completion",
    "git",
    "htop",
    "jq",
    "less",
    "lsof",
    "rsync",
    "strace",
    "sudo",
    "vim-tiny",
    "xz-utils",
    "zstd",
];

/// What nobody reads on such a host; left out while packages are unpacked.
const EXCLUDED: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/i18n/*",
];

const FIRST_ISSUE: &str = include_str!("scripts/first-issue.sh");
const OLD_KERNEL: &str = include_str!("scripts/old-kernel.sh");
const TRIM: &str = include_str!("scripts/trim.sh");

/// A tree by what it has of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// Debian bookworm without its updates.
    Old,
    /// The same with them.
    New,
    /// With them, but for the kernel.
    NoKernel,
    /// The Debian release after it.
    Trixie,
}

impl Tree {
    pub fn name(self) -> &'static str {
        match self {
            Tree::Old => "old",
            Tree::New => "new",
            Tree::NoKernel => "no-kernel",
            Tree::Trixie => "trixie",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Tree::Trixie => "trixie",
            Tree::Old | Tree::New | Tree::NoKernel => "bookworm",
        }
    }

    /// A script that chooses from the archive; mmdebstrap takes updates and security by itself.
    fn choice(self) -> &'static str {
        match self {
            Tree::Old => FIRST_ISSUE,
            Tree::NoKernel => OLD_KERNEL,
            Tree::New | Tree::Trixie => "",
        }
    }

    /// Of all that makes it but the archive, which is another one tomorrow.
    pub fn key(self) -> String {
        let mut key = Key::default();
        key.add(self.suite()).add(EPOCH.to_string()).add(self.choice()).add(TRIM);
        for input in PACKAGES.iter().chain(EXCLUDED) {
            key.add(input);
        }
        format!("{}-{}", self.name(), key.finish())
    }

    /// The tree as a tar file, made or found.
    pub fn obtain(self, store: &Store) -> Result<PathBuf, BenchError> {
        let tar = store.path(&format!("{}.tar", self.key()));
        if !tar.exists() {
            if !rustix::process::geteuid().is_root() {
                return Err(BenchError::NotRoot);
            }
            store.note(&format!("installing the packages of the tree `{}`", self.name()));
            self.bootstrap(store, &tar)?;
        }
        Ok(tar)
    }

    fn bootstrap(self, store: &Store, tar: &Path) -> Result<(), BenchError> {
        let work = store.work()?;
        let step = "write a script for mmdebstrap";
        let [choice, trim] = [("choice.sh", self.choice()), ("trim.sh", TRIM)].map(
            |(name, script)| -> Result<PathBuf, BenchError> {
                let path = work.path().join(name);
                fs_err::write(&path, script).map_err(at(step))?;
                Ok(path)
            },
        );
        let unfinished = work.path().join("tree.tar");
        let mut mmdebstrap = mmdebstrap("minbase", PACKAGES, EXCLUDED);
        mmdebstrap
            .arg(format!("--setup-hook=sh '{}' \"$1\"", choice?.display()))
            .arg(format!("--customize-hook=sh '{}' \"$1\"", trim?.display()))
            .arg(self.suite())
            .arg(&unfinished);
        run("installing the packages of a tree", &mut mmdebstrap)?;
        fs_err::rename(&unfinished, tar).map_err(at("keep a tree"))
    }

    /// What is installed in it.
    pub fn packages(self, store: &Store) -> Result<Packages, BenchError> {
        let mut tar = Command::new("tar");
        tar.arg("-xOf").arg(self.obtain(store)?).arg("./var/lib/dpkg/status");
        Ok(Packages::parse(&run("reading which packages a tree has", &mut tar)?))
    }

    /// Its kernel, in a file.
    pub fn linux(self, store: &Store) -> Result<PathBuf, BenchError> {
        let linux = store.path(&format!("{}.linux", self.key()));
        if !linux.exists() {
            let step = "take the kernel out of a tree";
            let unfinished = store.work()?;
            let unfinished = unfinished.path().join("linux");
            let mut tar = Command::new("tar");
            tar.args(["--wildcards", "--to-command"])
                .arg(format!("cat >'{}'", unfinished.display()));
            tar.arg("-xf").arg(self.obtain(store)?).arg("./boot/vmlinuz-*");
            run("taking the kernel out of a tree", &mut tar)?;
            fs_err::rename(&unfinished, &linux).map_err(at(step))?;
        }
        Ok(linux)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_known_by_what_makes_it() {
        let all = [Tree::Old, Tree::New, Tree::NoKernel, Tree::Trixie];
        let mut hashes: Vec<_> =
            all.map(|tree| tree.key().rsplit('-').next().unwrap().to_owned()).into();
        assert_eq!(Tree::Old.key(), Tree::Old.key());
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), all.len(), "{hashes:?}");
    }

    /// A list as mmdebstrap writes it: only the suite itself is left.
    #[test]
    fn the_first_issue_is_without_updates_and_security() {
        let tree = tempfile::tempdir().unwrap();
        let lists = tree.path().join("etc/apt/sources.list.d");
        fs_err::create_dir_all(&lists).unwrap();
        let list = lists.join("0000bookworm.list");
        let line = |suite| {
            format!("deb [signed-by=\"/x.gpg\"] http://mirror.example/debian {suite} main\n")
        };
        let all = ["bookworm", "bookworm-updates", "bookworm-security"].map(line).concat();
        fs_err::write(&list, all).unwrap();
        let script = tree.path().join("first-issue.sh");
        fs_err::write(&script, FIRST_ISSUE).unwrap();
        run("trying", Command::new("sh").arg(&script).arg(tree.path())).unwrap();
        assert_eq!(fs_err::read_to_string(&list).unwrap(), line("bookworm"));
    }
}
