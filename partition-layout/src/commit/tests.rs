//! Power cuts at every moment of a commit, on every disk that an earlier one can have left.

mod resized;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::layout::Layout;
use crate::testing::{MemoryDisk, Operation, RecordingDisk, sample_disk};
use crate::{CopiesHealth, CopyHealth, Nibble, SlotState, SlotTable, Table, protective_mbr};

const KERNEL_A: u32 = 2;
const KERNEL_B: u32 = 3;

type Changes = &'static [(u32, (u8, u8, bool))];

fn boot((priority, tries, successful): (u8, u8, bool)) -> BootAttributes {
    let nibble = |value| Nibble::try_from(value).unwrap();
    BootAttributes::default().with_boot(nibble(priority), nibble(tries), successful)
}

fn attributes(changes: Changes) -> Vec<(u32, BootAttributes)> {
    changes.iter().map(|&(number, fields)| (number, boot(fields))).collect()
}

fn disk_with(block_size: u32, changes: Changes) -> MemoryDisk {
    let disk = sample_disk(block_size);
    let _durable = commit(&disk, &attributes(changes)).unwrap();
    disk
}

fn slots(disk: &dyn BlockDevice) -> [BootAttributes; 2] {
    SlotTable::read(disk, &Layout::standard()).unwrap().slots.map(|slot| slot.attributes)
}

fn health(disk: &dyn BlockDevice) -> CopiesHealth {
    CopiesHealth::of(&Table::read_device(disk).unwrap())
}

/// Invariant 1: the disk boots a confirmed slot, or a trial with a confirmed one behind it.
fn assert_boots(disk: &MemoryDisk) {
    let table = SlotTable::read(disk, &Layout::standard()).expect("a valid table");
    let states: Vec<SlotState> = table.order().attempts.iter().map(|a| a.state).collect();
    let safe = matches!(
        states[..],
        [SlotState::Confirmed, ..] | [SlotState::Trial, SlotState::Confirmed, ..]
    );
    assert!(safe, "{:?} would start as {states:?}", table.slots.map(|slot| slot.attributes));
}

/// What the boot selector does: the primary alone, never flushed by some firmware.
fn firmware_writes(disk: &dyn BlockDevice, changes: &[(u32, BootAttributes)]) {
    let table = Table::read_device(disk).unwrap();
    let old = table.copy(CopyPlace::Primary).unwrap();
    for (lba, block) in table.edit_primary(changes).unwrap().blocks_unlike(old) {
        disk.write_at(lba * u64::from(disk.block_size()), block).unwrap();
    }
}

/// Before and after of every commit in the life of an update.
const COMMITS: [(Changes, Changes); 7] = [
    // Stage: the target is made unbootable.
    (&[(KERNEL_A, (2, 0, true)), (KERNEL_B, (1, 0, true))], &[(KERNEL_B, (0, 0, false))]),
    // Activate.
    (&[(KERNEL_A, (1, 0, true))], &[(KERNEL_B, (2, 3, false))]),
    // Activate with no room above: both are renumbered.
    (&[(KERNEL_A, (15, 0, true))], &[(KERNEL_A, (1, 0, true)), (KERNEL_B, (2, 3, false))]),
    // Cancel.
    (&[(KERNEL_A, (1, 0, true)), (KERNEL_B, (2, 3, false))], &[(KERNEL_B, (0, 0, false))]),
    // Confirm.
    (&[(KERNEL_A, (1, 0, true)), (KERNEL_B, (2, 2, false))], &[(KERNEL_B, (2, 0, true))]),
    // Mark failed.
    (&[(KERNEL_A, (1, 0, true)), (KERNEL_B, (2, 2, false))], &[(KERNEL_B, (2, 0, false))]),
    // Roll back: the other, confirmed slot on trial.
    (&[(KERNEL_A, (1, 0, true)), (KERNEL_B, (2, 0, true))], &[(KERNEL_A, (3, 3, false))]),
];

/// Damage that an earlier power cut, or a dying disk, can have left.
const DAMAGE: [fn(&MemoryDisk, u64); 6] = [
    |_, _| {},
    |disk, _| disk.damage(1, 90),
    |disk, _| disk.damage(2, 0),
    |disk, last| disk.damage(last, 90),
    |disk, last| disk.damage(last - 1, 0),
    |disk, last| disk.set_block(last, vec![0; disk.block_size() as usize]),
];

#[test]
fn a_power_cut_leaves_the_old_or_the_new_attributes_and_a_disk_that_boots() {
    let mut cuts = 0;
    for block_size in [512, 4096] {
        for (before, after) in COMMITS {
            for damage in DAMAGE {
                let start = disk_with(block_size, before);
                damage(&start, start.size() / u64::from(block_size) - 1);
                let old = slots(&start);

                let disk = RecordingDisk::new(start);
                let _durable = commit(&disk, &attributes(after)).unwrap();
                let new = slots(&disk);
                assert!(health(&disk).agree());
                for image in disk.crash_images() {
                    assert_boots(&image);
                    let found = slots(&image);
                    assert!(found == old || found == new, "{found:?}");
                    cuts += 1;
                }
            }
        }
    }
    assert!(cuts > 500, "only {cuts} cuts enumerated");
}

/// The firmware's decrement may still be in the drive's cache when Linux commits. Without the
/// flush before the first write, a cut can tear both copies.
#[test]
fn a_decrement_in_the_drives_cache_costs_no_table() {
    for block_size in [512, 4096] {
        let before: Changes = &[(KERNEL_A, (1, 0, true)), (KERNEL_B, (2, 3, false))];
        let disk = RecordingDisk::new(disk_with(block_size, before));
        let old = slots(&disk);
        firmware_writes(&disk, &[(KERNEL_B, boot((2, 2, false)))]);
        let decremented = slots(&disk);
        assert_eq!(health(&disk).backup, CopyHealth::Older);

        let _durable = commit(&disk, &[(KERNEL_B, boot((2, 0, true)))]).unwrap();
        let allowed = [old, decremented, slots(&disk)];
        let mut seen = BTreeSet::new();
        for image in disk.crash_images() {
            assert_boots(&image);
            let found = slots(&image);
            seen.insert(
                allowed.iter().position(|allowed| *allowed == found).expect("a known state"),
            );
        }
        assert_eq!(seen.len(), 3, "a refunded try, the decrement, and the commit");
        assert!(health(&disk).agree(), "the backup was brought up to date");
    }
}

/// Beyond the promise: media that damage the whole physical sector of 4096 bytes around a block
/// which was being written. The table survives; with blocks of 512 bytes the protective MBR,
/// which shares a sector with the primary's header, does not. docs/formats.md has the count.
#[test]
fn a_torn_physical_sector_costs_the_protective_mbr_at_most() {
    let torn = |block_size: u32| {
        let start = disk_with(block_size, &[(KERNEL_A, (1, 0, true))]);
        let disk = RecordingDisk::new(start.clone());
        let _durable = commit(&disk, &[(KERNEL_B, boot((2, 3, false)))]).unwrap();
        let (mut writes, mut mbr_lost, before) = (0, 0, start);
        for operation in disk.log() {
            let Operation::Write { lba, bytes } = operation else { continue };
            let image = before.clone();
            let blocks_per_sector = u64::from(4096 / block_size);
            let first = lba / blocks_per_sector * blocks_per_sector;
            for lba in first..first + blocks_per_sector {
                image.set_block(lba, vec![0xA5; block_size as usize]);
            }
            assert_boots(&image);
            let mut mbr = [0; protective_mbr::MBR_SIZE];
            image.read_at(0, &mut mbr).unwrap();
            mbr_lost += u32::from(!protective_mbr::is_valid(&mbr));
            writes += 1;
            before.set_block(lba, bytes);
        }
        (mbr_lost, writes)
    };
    assert_eq!(torn(512), (2, 4));
    assert_eq!(torn(4096), (0, 4));
}

#[test]
fn the_copy_that_does_not_count_is_written_first_and_flushed() {
    let writes = |damage: fn(&MemoryDisk)| {
        let start = disk_with(512, &[(KERNEL_A, (1, 0, true))]);
        damage(&start);
        let disk = RecordingDisk::new(start);
        let _durable = commit(&disk, &[(KERNEL_B, boot((2, 3, false)))]).unwrap();
        let half = disk.size() / 1024;
        let mut steps: Vec<&str> = disk
            .log()
            .iter()
            .map(|operation| match operation {
                Operation::Write { lba, .. } if *lba < half => "primary",
                Operation::Write { .. } => "backup",
                Operation::Flush => "flush",
            })
            .collect();
        steps.dedup();
        steps
    };
    assert_eq!(writes(|_| {}), ["flush", "backup", "flush", "primary", "flush"]);
    assert_eq!(writes(|disk| disk.damage(1, 60)), ["flush", "primary", "flush", "backup", "flush"]);
}

#[test]
fn a_device_that_fails_at_any_operation_keeps_a_bootable_disk() {
    for (before, after) in COMMITS {
        let start = disk_with(512, before);
        for operations in 0.. {
            let disk = RecordingDisk::new(start.clone()).failing_after(operations);
            let outcome = commit(&disk, &attributes(after));
            disk.crash_images().iter().for_each(assert_boots);
            if outcome.is_ok() {
                assert!(operations > 10, "only {operations} operations");
                break;
            }
        }
    }
}

/// A medium that acknowledges writes to one block and drops them.
struct Forgetful {
    disk: MemoryDisk,
    lba: u64,
}

impl BlockDevice for Forgetful {
    fn block_size(&self) -> u32 {
        self.disk.block_size()
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if offset / u64::from(self.block_size()) == self.lba {
            return Ok(());
        }
        self.disk.write_at(offset, buf)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }
}

#[test]
fn a_copy_that_reads_back_wrong_stops_the_commit_before_the_other_is_touched() {
    let start = disk_with(512, &[(KERNEL_A, (1, 0, true))]);
    let last = start.size() / 512 - 1;
    for (lba, place) in [(last, CopyPlace::Backup), (1, CopyPlace::Primary)] {
        let disk = Forgetful { disk: start.clone(), lba };
        let error = commit(&disk, &[(KERNEL_B, boot((2, 3, false)))]).unwrap_err();
        assert!(matches!(error, CommitError::ReadBack { place: p, .. } if p == place), "{error}");
        assert_boots(&disk.disk);
        if place == CopyPlace::Backup {
            assert_eq!(slots(&disk.disk), slots(&start), "the primary is as it was");
        }
    }
}

#[test]
fn a_commit_that_changes_nothing_writes_nothing() {
    let disk = RecordingDisk::new(disk_with(512, &[(KERNEL_A, (1, 0, true))]));
    let _durable = commit(&disk, &[(KERNEL_A, boot((1, 0, true)))]).unwrap();
    assert_eq!(disk.log(), [Operation::Flush]);
}

#[test]
fn repair_says_which_copy_it_rewrote() {
    let check = |damage: fn(&MemoryDisk, u64), expected: Repair| {
        let disk = disk_with(512, &[(KERNEL_A, (1, 0, true))]);
        damage(&disk, disk.size() / 512 - 1);
        let before = slots(&disk);
        assert_eq!(repair_backup(&disk).unwrap(), expected);
        assert!(health(&disk).agree());
        assert_eq!(slots(&disk), before);
    };
    check(|_, _| {}, Repair::NothingToDo);
    check(|disk, last| disk.damage(last, 0), Repair::Backup);
    check(|disk, last| disk.damage(last - 32, 0), Repair::Backup);
    check(|disk, _| disk.damage(1, 0), Repair::Primary);
    check(|disk, _| disk.damage(33, 511), Repair::Primary);
    check(|disk, _| firmware_writes(disk, &[(KERNEL_A, boot((1, 1, true)))]), Repair::Backup);
}

/// A copy rebuilt from the other is byte for byte what was there.
#[test]
fn a_rebuilt_copy_is_the_one_that_was_lost() {
    for block_size in [512, 4096] {
        let whole = disk_with(block_size, &[(KERNEL_A, (1, 0, true))]);
        let last = whole.size() / u64::from(block_size) - 1;
        for lost in [1, 2, last - 1, last] {
            let disk = whole.clone();
            disk.set_block(lost, vec![0xA5; block_size as usize]);
            repair_backup(&disk).unwrap();
            assert!(disk == whole, "block {lost}");
        }
    }
}

/// As a virtual machine's disk is made larger, or an image is written to a larger one.
fn grown(disk: MemoryDisk, blocks: u64) -> MemoryDisk {
    let size = disk.size() + blocks * u64::from(disk.block_size());
    disk.resized(size)
}

/// One step in the life of a disk, whoever takes it.
#[derive(Debug, Clone)]
enum Life {
    Boot,
    MakeUnbootable,
    Activate,
    Confirm,
    MarkFailed,
    Grow,
}

/// Takes the step if it is allowed to; the agent's own rules, in short.
fn live(disk: &RecordingDisk, step: &Life) {
    let table = SlotTable::read(disk, &Layout::standard()).unwrap();
    let order = table.order();
    let first = order.first().unwrap();
    let (booted, other) = (&table.slots[first.index], &table.slots[1 - first.index]);
    let number = booted.kernel.number;
    let (priority, state) = (booted.attributes.priority().get(), booted.attributes.state());
    let trial = state == SlotState::Trial;
    match step {
        Life::Boot => {
            if let Some(tries) = first.tries_after {
                let boot = booted.attributes;
                let after = boot.with_boot(boot.priority(), tries, false);
                let change = [(number, after)];
                // A torn backup keeps the selector from writing; then the try is not used.
                if health(disk).backup == CopyHealth::Older || health(disk).agree() {
                    firmware_writes(disk, &change);
                }
            }
        }
        Life::MakeUnbootable if !trial => {
            let _durable = commit(disk, &[(other.kernel.number, boot((0, 0, false)))]).unwrap();
        }
        Life::Activate if !trial && other.attributes.state() == SlotState::Empty => {
            let changes = match priority {
                15 => {
                    vec![(number, boot((1, 0, true))), (other.kernel.number, boot((2, 3, false)))]
                }
                _ => vec![(other.kernel.number, boot((priority + 1, 3, false)))],
            };
            let _durable = commit(disk, &changes).unwrap();
        }
        Life::Confirm => {
            let _durable = commit(disk, &[(number, boot((priority, 0, true)))]).unwrap();
        }
        Life::MarkFailed if trial => {
            let _durable = commit(disk, &[(number, boot((priority, 0, false)))]).unwrap();
        }
        Life::MakeUnbootable | Life::Activate | Life::MarkFailed | Life::Grow => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Long lives with power cuts: the machine restarts from any disk that a cut could have
    /// left, or goes on with its writes still in the drive's cache. Each disk boots.
    #[test]
    fn no_history_of_cuts_leaves_a_disk_that_does_not_boot(
        wide in any::<bool>(),
        history in prop::collection::vec(
            (
                prop_oneof![
                    Just(Life::Boot),
                    Just(Life::MakeUnbootable),
                    Just(Life::Activate),
                    Just(Life::Confirm),
                    Just(Life::MarkFailed),
                    Just(Life::Grow),
                ],
                prop::option::of(any::<prop::sample::Index>()),
            ),
            1..30,
        ),
    ) {
        let block_size = if wide { 4096 } else { 512 };
        let mut disk = RecordingDisk::new(disk_with(block_size, &[(KERNEL_A, (1, 0, true))]));
        for (step, cut) in history {
            live(&disk, &step);
            // Grown while it was off, with a primary: a backup alone is not found again.
            if matches!(step, Life::Grow) && health(&disk).primary == CopyHealth::Current {
                disk = RecordingDisk::new(grown(disk.image(), 7));
            }
            let images = disk.crash_images();
            images.iter().for_each(assert_boots);
            if let Some(cut) = cut {
                disk = RecordingDisk::new(cut.get(&images).clone());
            }
        }
    }
}
