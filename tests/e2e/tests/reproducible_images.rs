//! Building an image twice, from packages, gives the same bits.

use std::path::{Path, PathBuf};

use fs_err as fs;
use seesaw_harness::image::{EPOCH, File, ImageStore, Initrd, OsImage, Recipe};
use seesaw_harness::packages;
use seesaw_harness::programs::programs;

fn recipe(package: PathBuf) -> Recipe {
    Recipe {
        compatible: "demo-x86_64".to_owned(),
        release: "1".to_owned(),
        counter: 1,
        built: "2026-01-01T00:00:00Z".to_owned(),
        command_line: "ro panic=10 console=ttyS0".to_owned(),
        initrd: Initrd::Included,
        packages: vec![package],
        files: vec![File::text("usr/share/demo/greeting", "hello\n")],
        enabled_units: Vec::new(),
        rebuilt_programs: vec!["usr/bin/busybox".to_owned()],
    }
}

fn build_from_nothing(store: &Path) -> OsImage {
    let images = ImageStore::open(store).unwrap();
    let package = seesaw_packaging::agent(&programs().unwrap()).unwrap();
    let package = package.build(EPOCH, store).unwrap();
    images.build(&recipe(package)).unwrap()
}

#[test]
fn two_builds_from_packages_are_identical() {
    packages::ensure(&[packages::IMAGES, packages::DEB], |_| {}).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let first = build_from_nothing(&dir.path().join("first"));
    let second = build_from_nothing(&dir.path().join("second"));
    // Compared, not printed: they are tens of megabytes.
    assert!(fs::read(first.root).unwrap() == fs::read(second.root).unwrap(), "roots differ");
    assert!(fs::read(first.kernel).unwrap() == fs::read(second.kernel).unwrap(), "kernels differ");
}
