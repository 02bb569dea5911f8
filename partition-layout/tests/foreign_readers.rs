//! Tables that we write, read by programs and a library that we did not.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use partition_layout::testing::{MemoryDisk, RecordingDisk, sample_disk};
use partition_layout::{
    Access, BlockDevice, BootAttributes, DiskFile, DiskPlan, Guid, Layout, Nibble, PreflightError,
    Repair, SlotLetter, SlotTable, Table, commit, create_disk, preflight, repair_backup,
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

#[test]
fn the_gpt_crate_reads_both_copies_alike() {
    use gpt::disk::LogicalBlockSize;
    for (block_size, size) in [(LogicalBlockSize::Lb512, 512), (LogicalBlockSize::Lb4096, 4096)] {
        let folder = tempfile::tempdir().unwrap();
        let path = image(folder.path(), size);
        let config = gpt::GptConfig::new().logical_block_size(block_size).only_valid_headers(true);
        let disk = config.open(&path).unwrap();
        let (primary, backup) = (disk.primary_header().unwrap(), disk.backup_header().unwrap());
        assert_eq!(primary.crc32_parts, backup.crc32_parts);
        assert_eq!(primary.backup_lba, backup.current_lba);

        let ours = DiskFile::open(&path, Access::ReadOnly).unwrap();
        let ours = Table::read_device(&ours).unwrap();
        assert_eq!(ours.partitions().count(), disk.partitions().len());
        for entry in ours.partitions() {
            let theirs = &disk.partitions()[&entry.number];
            assert_eq!(theirs.name, entry.name);
            assert_eq!((theirs.first_lba, theirs.last_lba), (entry.first_lba, entry.last_lba));
            assert_eq!(theirs.flags, entry.attributes.bits());
            let guids = (entry.guid.to_string(), entry.type_guid.to_string());
            let theirs = (theirs.part_guid.to_string(), theirs.part_type_guid.guid.to_string());
            assert_eq!((theirs.0.to_uppercase(), theirs.1.to_uppercase()), guids);
        }
    }
}

/// The other way round: tables that others make, and change.
#[test]
fn a_table_of_sgdisk_changed_by_cgpt_is_read_and_committed_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    std::fs::File::create(&path).unwrap().set_len(32 * MIB).unwrap();
    let kernel = "FE3A2A5D-4F32-41A7-B725-ACCC3285A309";
    let mut arguments = vec!["--clear".to_owned()];
    for (number, name, type_code) in [
        (1, "KERNEL-B", kernel),
        (2, "KERNEL-A", kernel),
        (5, "ROOT-A", "8304"),
        (6, "ROOT-B", "8304"),
    ] {
        arguments.push(format!("--new={number}:0:+2M"));
        arguments.push(format!("--typecode={number}:{type_code}"));
        arguments.push(format!("--change-name={number}:{name}"));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run("sgdisk", "gdisk", &arguments, &path);
    run("cgpt", "cgpt", &["add", "-i", "1", "-P", "1", "-T", "0", "-S", "1"], &path);

    let disk = DiskFile::open(&path, Access::ReadWrite).unwrap();
    let layout = Layout::standard();
    let table = preflight(&disk, &layout).unwrap().table;
    assert_eq!(table.slots.each_ref().map(|slot| slot.letter), [SlotLetter::B, SlotLetter::A]);
    assert_eq!(table.next(), Some(SlotLetter::B));
    let _durable = commit(&disk, &[(2, boot(2, 3, false))]).unwrap();
    assert!(run("sgdisk", "gdisk", &["-v"], &path).contains("No problems found"));
    assert_eq!(run("cgpt", "cgpt", &["show", "-i", "2", "-T"], &path).trim(), "3");
}

/// The repairs that our errors name are repairs.
#[test]
fn what_preflight_asks_for_helps() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), 512);
    let outcome = || {
        let disk = DiskFile::open(&path, Access::ReadWrite).unwrap();
        preflight(&disk, &Layout::standard())
    };
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..512].fill(0);
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(outcome(), Err(PreflightError::ProtectiveMbr)));
    run("sgdisk", "gdisk", &["-e"], &path);
    let table = outcome().unwrap().table;
    assert_eq!(table.slot(SlotLetter::B).attributes, boot(2, 3, false));
}

/// An image written to a larger disk, or a volume that was made larger.
#[test]
fn a_disk_that_has_grown_is_repaired_as_other_readers_want_it() {
    for block_size in [512, 4096] {
        let folder = tempfile::tempdir().unwrap();
        let path = image(folder.path(), block_size);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(40 * MIB).unwrap();
        let disk = DiskFile::open(&path, Access::ReadWrite).unwrap();
        let report = preflight(&disk, &Layout::standard()).unwrap();
        assert_eq!(report.repaired, Repair::BackupMoved);
        assert_eq!(report.table.slot(SlotLetter::B).attributes, boot(2, 3, false));

        if block_size == 512 {
            let verdict = run("sgdisk", "gdisk", &["-v"], &path);
            assert!(verdict.contains("No problems found"), "{verdict}");
            let shown = run("cgpt", "cgpt", &["show", "-v"], &path);
            assert!(shown.contains("Sec GPT header"), "{shown}");
            assert!(!shown.to_lowercase().contains("invalid"), "{shown}");
        }
        let size = match block_size {
            512 => gpt::disk::LogicalBlockSize::Lb512,
            _ => gpt::disk::LogicalBlockSize::Lb4096,
        };
        let config = gpt::GptConfig::new().logical_block_size(size).only_valid_headers(true);
        let theirs = config.open(&path).unwrap();
        let (primary, backup) = (theirs.primary_header().unwrap(), theirs.backup_header().unwrap());
        assert_eq!((primary.backup_lba, backup.backup_lba), (backup.current_lba, 1));
        assert_eq!(backup.current_lba, 40 * MIB / u64::from(block_size) - 1);
    }
}

/// One rule for every reader: on each disk that a power cut can leave, cgpt reads what we read.
#[test]
fn cgpt_agrees_on_every_disk_that_a_power_cut_leaves() {
    let start = || {
        let disk = sample_disk(512);
        let _durable = commit(&disk, &[(2, boot(1, 0, true)), (3, boot(2, 2, false))]).unwrap();
        disk
    };
    let of = |blocks: u64| start().resized(32 * MIB + 512 * blocks);
    for start in [start(), of(1), of(2048)] {
        cgpt_agrees_on_every_cut_from(start);
    }
}

fn cgpt_agrees_on_every_cut_from(start: MemoryDisk) {
    let disk = RecordingDisk::new(start);
    let _durable = commit(&disk, &[(3, boot(2, 0, true))]).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.img");
    for image in disk.crash_images() {
        let mut bytes = vec![0; image.size() as usize];
        image.read_at(0, &mut bytes).unwrap();
        std::fs::write(&path, bytes).unwrap();
        for slot in SlotTable::read(&image, &Layout::standard()).unwrap().slots {
            let number = slot.kernel.number.to_string();
            let shown = |flag| run("cgpt", "cgpt", &["show", "-i", &number, flag], &path);
            let theirs = ["-P", "-T", "-S"].map(|flag| shown(flag).trim().to_owned());
            let boot = slot.attributes;
            let ours = [boot.priority().get(), boot.tries().get(), u8::from(boot.successful())];
            assert_eq!(theirs, ours.map(|value| value.to_string()), "slot {}", slot.letter);
        }
    }
}

#[test]
fn a_repaired_table_satisfies_sgdisk() {
    let last = 32 * MIB - 512;
    for damaged in [512 + 20, 1024, last + 90, last - 512] {
        let folder = tempfile::tempdir().unwrap();
        let path = image(folder.path(), 512);
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xA5; 8], damaged).unwrap();
        let disk = DiskFile::open(&path, Access::ReadWrite).unwrap();
        assert_ne!(repair_backup(&disk).unwrap(), Repair::NothingToDo);
        let verdict = run("sgdisk", "gdisk", &["-v"], &path);
        assert!(verdict.contains("No problems found"), "byte {damaged}: {verdict}");
    }
}
