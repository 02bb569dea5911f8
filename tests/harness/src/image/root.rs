//! A root tree with the recipe's files in it, the initrd made from it, and its file system.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use super::base::{Base, EPOCH};
use super::file::File;
use super::recipe::Recipe;
use super::{ImageError, io};
use crate::command::run;

pub(super) const ASSEMBLE: &str = include_str!("scripts/assemble.sh");

/// The parts of an image before the kernel image is put together.
pub(super) struct Built {
    pub(super) file_system: PathBuf,
    pub(super) linux: PathBuf,
    pub(super) initrd: PathBuf,
    pub(super) stub: PathBuf,
}

/// The shell through which tests speak to a guest, and a machine that is known.
pub(super) fn common_files() -> Vec<File> {
    vec![
        File::text("etc/initramfs-tools/conf.d/demo", include_str!("overlay/initramfs.conf")),
        File::text("etc/initramfs-tools/modules", include_str!("overlay/initramfs-modules")),
        File::text("etc/hostname", "seesaw\n"),
        File::text("etc/hosts", "127.0.0.1 localhost seesaw\n"),
        File::text("etc/systemd/network/80-dhcp.network", include_str!("overlay/dhcp.network")),
        File::text("etc/systemd/journald.conf.d/demo.conf", "[Journal]\nStorage=volatile\n"),
        File::script("usr/lib/harness/shell", include_str!("overlay/shell")),
        File::text(
            "usr/lib/systemd/system/harness-shell.service",
            include_str!("overlay/harness-shell.service"),
        ),
        File::text("usr/lib/systemd/system/tmp.mount", include_str!("overlay/tmp.mount")),
    ]
}

const COMMON_UNITS: &[&str] = &["systemd-networkd.service", "harness-shell.service", "tmp.mount"];

/// Builds the root of `recipe` in the folder `work`.
pub(super) fn build(base: &Base, recipe: &Recipe, work: &Path) -> Result<Built, ImageError> {
    if !rustix::process::geteuid().is_root() {
        return Err(ImageError::NotRoot);
    }
    let files = work.join("files");
    for file in common_files().iter().chain(&recipe.files) {
        file.lay(&files)?;
    }
    File::text("usr/lib/os-release", recipe.os_release()).lay(&files)?;
    let packages = work.join("packages");
    fs::create_dir(&packages).map_err(io("laying out packages"))?;
    for (number, package) in recipe.packages.iter().enumerate() {
        let numbered = packages.join(format!("{number:02}.deb"));
        fs::copy(package, numbered).map_err(io("laying out packages"))?;
    }

    let step = "writing a list for assemble.sh";
    let units = COMMON_UNITS.iter().copied().chain(recipe.enabled_units.iter().map(String::as_str));
    fs::write(work.join("units"), lines(units)).map_err(io(step))?;
    let rebuilt = recipe.rebuilt_programs.iter().map(String::as_str);
    fs::write(work.join("rebuilt"), lines(rebuilt)).map_err(io(step))?;
    let script = work.join("assemble.sh");
    fs::write(&script, ASSEMBLE).map_err(io(step))?;

    let mut assemble = Command::new("sh");
    assemble.env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env("LC_ALL", "C");
    assemble.arg(&script).arg(&base.tar).arg(work);
    run("assembling the root", &mut assemble)?;
    Ok(Built {
        file_system: work.join("root.img"),
        linux: work.join("linux"),
        initrd: work.join("initrd.img"),
        stub: work.join("stub.efi"),
    })
}

fn lines<'a>(entries: impl Iterator<Item = &'a str>) -> String {
    entries.map(|entry| format!("{entry}\n")).collect()
}
