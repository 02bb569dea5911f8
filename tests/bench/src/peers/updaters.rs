//! RAUC and SWUpdate, as the newest Debian has them, in a tree of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use payload_tools::format::Role;
use seesaw_harness::command::run;
use seesaw_harness::image::Key;
use seesaw_harness::mmdebstrap::mmdebstrap;

use super::sample;
use crate::{BenchError, FileServer, Release, Sample, TestDisk, at};

const SUITE: &str = "trixie";
const PACKAGES: [&str; 6] = ["rauc", "rauc-service", "squashfs-tools", "swupdate", "dbus", "cpio"];

/// Makes, of `/bench/root.img` in the tree, what each is given: RAUC a squashfs with zstd (`plain`,
/// since `verity` needs a device mapper), SWUpdate the payload that ours and the pipeline fetch.
const PACK: &str = include_str!("scripts/pack.sh");
const RAUC: &str = include_str!("scripts/rauc.sh");
const SWUPDATE: &str = include_str!("scripts/swupdate.sh");
/// What a command mounts is gone when it ends, however that is.
const OWN_MOUNTS: [&str; 2] = ["--mount", "--propagation=private"];
/// Enters the tree; `/run/slot-b` is the device.
const ENTER: &str = include_str!("scripts/enter.sh");

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Updater {
    /// From a file, for HTTP it needs an nbd device.
    Rauc,
    /// From HTTP, written as it is decompressed.
    Swupdate,
}

impl Updater {
    /// What it is called in keys; its package too.
    pub fn key(self) -> &'static str {
        match self {
            Updater::Rauc => "rauc",
            Updater::Swupdate => "swupdate",
        }
    }

    fn script(self) -> &'static str {
        match self {
            Updater::Rauc => RAUC,
            Updater::Swupdate => SWUPDATE,
        }
    }
}

/// Both, and a release as each of them takes it.
#[derive(Debug)]
pub(crate) struct Updaters {
    tree: PathBuf,
}

impl Updaters {
    /// Installs them below `cache`, unless they are there, and packs `release` for them.
    pub fn prepare(
        cache: &Path,
        release: &Release,
        note: &dyn Fn(&str),
    ) -> Result<Self, BenchError> {
        let updaters = Self { tree: tree(cache, note)? };
        note("packing the release for RAUC and SWUpdate");
        updaters.pack(release)?;
        Ok(updaters)
    }

    fn pack(&self, release: &Release) -> Result<(), BenchError> {
        let bench = self.tree.join("bench");
        let packed = release.folder.join("peers");
        fs_err::create_dir_all(&bench).map_err(at("make a folder for bundles"))?;
        fs_err::create_dir_all(&packed).map_err(at("make a folder for bundles"))?;
        let full = release
            .folder
            .join("images")
            .join(release.image(Role::Root)?.root.to_string())
            .join("full");
        let mut pack = Command::new("unshare");
        pack.args(OWN_MOUNTS)
            .args(["bash", "-c", PACK, "pack"])
            .arg(&self.tree)
            .arg(&full)
            .arg(&packed);
        run("packing the release for RAUC and SWUpdate", &mut pack)?;
        Ok(())
    }

    /// What a package's version is.
    pub fn version(&self, updater: Updater) -> Result<String, BenchError> {
        let mut query = Command::new("dpkg-query");
        query.arg("--admindir").arg(self.tree.join("var/lib/dpkg"));
        query.args(["--show", "--showformat=${Version}", updater.key()]);
        Ok(run("asking for a package's version", &mut query)?)
    }

    /// One install, measured from the start of the program, or of its service, to its end.
    pub fn install(
        &self,
        updater: Updater,
        release: &Release,
        server: &FileServer,
        disk: &TestDisk,
    ) -> Result<Sample, BenchError> {
        let slot = disk.attach_root()?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let arguments = [
            text(&self.tree),
            text(slot.path()),
            text(&release.folder.join("peers")),
            format!("{}/v1/peers/update.swu", server.url()),
            updater.script().to_owned(),
        ];
        let enter = ["sh", "-ec", ENTER, "enter"];
        let words = ["unshare"].into_iter().chain(OWN_MOUNTS).chain(enter).map(str::to_owned);
        sample(&words.chain(arguments).collect::<Vec<_>>(), release, server, &slot)
    }
}

fn tree(cache: &Path, note: &dyn Fn(&str)) -> Result<PathBuf, BenchError> {
    let mut key = Key::default();
    key.add(SUITE);
    for package in PACKAGES {
        key.add(package);
    }
    let tree = cache.join(format!("updaters-{}", key.finish()));
    if tree.exists() {
        return Ok(tree);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(BenchError::NotRoot);
    }
    note("installing RAUC and SWUpdate into a tree of their own");
    let unfinished = tempfile::Builder::new().prefix("work-").tempdir_in(cache);
    let unfinished = unfinished.map_err(at("make a work folder"))?;
    let folder = unfinished.path().join("tree");
    let mut mmdebstrap = mmdebstrap("minbase", &PACKAGES, &["/usr/share/doc/*"]);
    run("installing RAUC and SWUpdate", mmdebstrap.arg(SUITE).arg(&folder))?;
    fs_err::rename(&folder, &tree).map_err(at("keep the tree of RAUC and SWUpdate"))?;
    Ok(tree)
}
