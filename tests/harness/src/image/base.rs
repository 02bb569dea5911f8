//! The part of a root tree that all images share: a minimal Debian, as packages install it.

use std::path::{Path, PathBuf};

use super::{ImageError, io, key::Key};
use crate::command::run;
use crate::mmdebstrap::mmdebstrap;

/// The images are built for the Debian release whose libc our programs are linked with.
const SUITE: &str = "bookworm";

const PACKAGES: &[&str] = &[
    // The system and its boot.
    "systemd",
    "systemd-sysv",
    "udev",
    "kmod",
    "initramfs-tools",
    "linux-image-amd64",
    "systemd-boot-efi",
    // busybox is the initrd's shell and demo.service's web server.
    "busybox",
    "e2fsprogs",
    // What the agent needs for an https server.
    "ca-certificates",
];

/// Never needed by a machine without a keyboard; left out while packages are unpacked.
const EXCLUDED: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/i18n/*",
    "/usr/share/zoneinfo/*",
    "/usr/share/bash-completion/*",
    "/usr/share/lintian/*",
    "/usr/lib/udev/hwdb.d/*",
    "/usr/lib/udev/hwdb.bin",
];

const PRUNE_MODULES: &str = include_str!("scripts/prune-modules.sh");

/// Time stamps of everything that carries one: 2026-01-01.
pub const EPOCH: u64 = 1_767_225_600;

/// A base tree that is there.
pub(super) struct Base {
    /// The tree as a tar file.
    pub(super) tar: PathBuf,
    pub(super) key: String,
}

/// Builds the base tree in `store`, or finds it.
pub(super) fn obtain(store: &Path) -> Result<Base, ImageError> {
    let mut key = Key::default();
    key.add(SUITE).add(EPOCH.to_string()).add(PRUNE_MODULES);
    for input in PACKAGES.iter().chain(EXCLUDED) {
        key.add(input);
    }
    let key = key.finish();
    let tar = store.join(format!("base-{key}.tar"));
    if !tar.exists() {
        if !rustix::process::geteuid().is_root() {
            return Err(ImageError::NotRoot);
        }
        bootstrap(store, &tar)?;
    }
    Ok(Base { tar, key })
}

fn bootstrap(store: &Path, tar: &Path) -> Result<(), ImageError> {
    let work = tempfile::tempdir_in(store).map_err(io("making a work folder"))?;
    let script = work.path().join("prune-modules.sh");
    fs_err::write(&script, PRUNE_MODULES).map_err(io("writing a script"))?;
    let unfinished = work.path().join("base.tar");

    let mut mmdebstrap = mmdebstrap("essential", PACKAGES, EXCLUDED);
    mmdebstrap
        .arg(format!("--customize-hook=sh '{}' \"$1\"", script.display()))
        .arg(SUITE)
        .arg(&unfinished);
    run("bootstrapping the base tree", &mut mmdebstrap)?;
    fs_err::rename(&unfinished, tar).map_err(io("keeping the base tree"))
}
