//! Tables that we write, read by programs and a library that we did not.

use std::path::{Path, PathBuf};
use std::process::Command;

use partition_layout::{
    BootAttributes, DiskFile, DiskPlan, Guid, Layout, Nibble, SlotLetter, commit, create_disk,
};

const MIB: u64 = 1 << 20;

fn plan() -> DiskPlan {
    DiskPlan {
        disk_guid: Guid::from_bytes(*b"sixteen bytes!!!"),
        layout: Layout::standard(),
        esp_size: 4 * MIB,
        kernel_size: 3 * MIB,
        root_size: 6 * MIB,
        verity_size: Some(MIB / 2),
    }
}

fn boot(priority: u8, tries: u8, successful: bool) -> BootAttributes {
    let nibble = |value| Nibble::try_from(value).unwrap();
    BootAttributes::default().with_boot(nibble(priority), nibble(tries), successful)
}

/// A disk with slot A confirmed and slot B on trial, both committed.
fn image(folder: &Path, block_size: u32) -> PathBuf {
    let path = folder.join("disk.img");
    let disk = DiskFile::create(&path, 32 * MIB, block_size).unwrap();
    let slots = create_disk(&disk, &plan()).unwrap();
    let (a, b) = (slots.slot(SlotLetter::A), slots.slot(SlotLetter::B));
    let changes = [(a.kernel.number, boot(1, 0, true)), (b.kernel.number, boot(2, 3, false))];
    let _durable = commit(&disk, &changes).unwrap();
    path
}

/// Runs a program and gives what it prints.
fn run(program: &str, package: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{program} is missing ({error}): install the package {package}")
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}{errors}");
    text
}

#[test]
fn cgpt_sees_both_slots_and_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), 512);
    for (number, expected) in [("2", [1, 0, 1]), ("3", [2, 3, 0])] {
        for (flag, value) in ["-P", "-T", "-S"].into_iter().zip(expected) {
            let shown = run("cgpt", "cgpt", &["show", "-i", number, flag], &path);
            assert_eq!(shown.trim(), value.to_string(), "partition {number} {flag}");
        }
    }
    let shown = run("cgpt", "cgpt", &["show", "-v"], &path);
    assert!(shown.contains("Pri GPT header") && shown.contains("Sec GPT header"), "{shown}");
    assert!(!shown.to_lowercase().contains("invalid"), "{shown}");
}

#[test]
fn sgdisk_finds_no_problem() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), 512);
    let verdict = run("sgdisk", "gdisk", &["-v"], &path);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let names = run("sgdisk", "gdisk", &["-p"], &path);
    for name in ["ESP", "KERNEL-A", "KERNEL-B", "ROOT-A", "ROOT-B", "VERITY-A", "STATE"] {
        assert!(names.contains(name), "{name} in {names}");
    }
}
