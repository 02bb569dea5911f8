//! The boot selector on real firmware, with small UEFI programs in the place of kernels.

mod disk;

use fs_err as fs;
use partition_layout::{
    BootReport, CopyPlace, Nibble, Reason, Refusal, SlotLetter, SlotState, StartFailure,
};
use seesaw_harness::qemu::{GuestClock, QemuBuilder, RebootPolicy};

use crate::SlotLetter::{A, B};
use crate::disk::*;

const CONFIRMED: (u8, u8, bool) = (1, 0, true);
const TRIAL: (u8, u8, bool) = (2, 3, false);

/// EFI_SECURITY_VIOLATION and EFI_ACCESS_DENIED: OVMF says the latter.
const ACCESS_DENIED: u8 = 15;

fn report(
    (started, state, tries): (SlotLetter, SlotState, u8),
    reason: Reason,
    refused: &[Refusal],
) -> BootReport {
    let tries = Nibble::try_from(tries).unwrap();
    BootReport { started, state, tries, reason, refused: refused.to_vec() }
}

fn refused(letter: SlotLetter, state: SlotState, failure: StartFailure, efi_status: u8) -> Refusal {
    Refusal { letter, state, failure, efi_status }
}

#[test]
fn a_confirmed_slot_of_its_own_disk_starts_and_nothing_is_written() {
    let own = TestDisk::new(Enforcement::Off);
    own.fill(A, CONFIRMED, &own.probe(Then::PowerOff));
    let before = own.bytes();
    // A copy of the disk, down to every GUID, on which slot B would be preferred.
    own.fill(B, TRIAL, &own.probe(Then::PowerOff));
    let other = own.dir().join("other.img");
    fs::rename(&own.image, &other).unwrap();
    fs::write(&own.image, &before).unwrap();
    let other_before = fs::read(&other).unwrap();

    let mut guest = own.machine().disk(&other).start().unwrap();
    let (partition, said) = probe_runs(&mut guest);
    assert_eq!(partition, own.partuuid(A));
    assert_eq!(said, report((A, SlotState::Confirmed, 0), Reason::OnlyChoice, &[]));
    guest.wait_until_ended(BOOT).unwrap();
    assert!(own.bytes() == before, "a confirmed boot has written to the disk");
    assert!(fs::read(&other).unwrap() == other_before, "another disk was written to");
}

#[test]
fn a_trial_has_its_tries_and_then_the_confirmed_slot_starts() {
    let disk = TestDisk::new(Enforcement::Off);
    disk.fill(A, CONFIRMED, &disk.probe(Then::PowerOff));
    disk.fill(B, TRIAL, &disk.probe(Then::Reset));
    let before = disk.bytes();
    let machine = disk.machine().reboot_policy(RebootPolicy::Reboot);
    let mut guest = machine.start().unwrap();
    for tries in [2, 1, 0] {
        let (partition, said) = probe_runs(&mut guest);
        assert_eq!(partition, disk.partuuid(B));
        assert_eq!(disk.boot(B), (2, tries, false), "the try is on the disk when the slot runs");
        assert_eq!(said, report((B, SlotState::Trial, tries), Reason::HighestPriority, &[]));
    }
    let (partition, said) = probe_runs(&mut guest);
    assert_eq!(partition, disk.partuuid(A));
    let gone = refused(B, SlotState::Failed, StartFailure::NoTriesLeft, 0);
    assert_eq!(said, report((A, SlotState::Confirmed, 0), Reason::OnlyChoice, &[gone]));
    guest.wait_until_ended(BOOT).unwrap();

    let after = disk.bytes();
    let changed: Vec<usize> = (0..before.len()).filter(|&at| before[at] != after[at]).collect();
    // Both checksums of the header, and one byte of the entry.
    let header = disk.copy_range(CopyPlace::Primary).start;
    let entries = header + 512;
    let kernel_b = entries + 2 * 128;
    let (last, checksums) = changed.split_last().unwrap();
    assert_eq!(*last, kernel_b + 48 + 6);
    let is_checksum =
        |at: &usize| (16..20).contains(&(at - header)) || (88..92).contains(&(at - header));
    assert!(checksums.iter().all(is_checksum), "{changed:?}");
}

#[test]
fn a_blank_kernel_is_passed_over_at_once() {
    let disk = TestDisk::new(Enforcement::Off);
    disk.fill(A, CONFIRMED, &disk.probe(Then::PowerOff));
    let mut cut = disk.probe(Then::PowerOff);
    cut[..4096].fill(0);
    disk.fill(B, TRIAL, &cut);
    let mut guest = disk.machine().start().unwrap();
    let (partition, said) = probe_runs(&mut guest);
    assert_eq!(partition, disk.partuuid(A));
    let blank = refused(B, SlotState::Trial, StartFailure::NoValidImage, 0);
    assert_eq!(said, report((A, SlotState::Confirmed, 0), Reason::Fallback, &[blank]));
    guest.wait_until_ended(BOOT).unwrap();
    assert_eq!(disk.boot(B), (2, 2, false));
}

#[test]
fn an_image_that_returns_is_followed_by_the_next() {
    const NOT_READY: u8 = 6;
    let disk = TestDisk::new(Enforcement::Off);
    disk.fill(A, CONFIRMED, &disk.probe(Then::PowerOff));
    disk.fill(B, TRIAL, &disk.probe(Then::Return));
    let mut guest = disk.machine().start().unwrap();
    let (partition, said) = probe_runs(&mut guest);
    assert_eq!(partition, disk.partuuid(B));
    assert_eq!(said, report((B, SlotState::Trial, 2), Reason::HighestPriority, &[]));
    let (partition, said) = probe_runs(&mut guest);
    assert_eq!(partition, disk.partuuid(A));
    let returned = refused(B, SlotState::Trial, StartFailure::Returned, NOT_READY);
    assert_eq!(said, report((A, SlotState::Confirmed, 0), Reason::Fallback, &[returned]));
    guest.wait_until_ended(BOOT).unwrap();
}

#[test]
fn secure_boot_refuses_what_is_not_signed_and_the_other_slot_starts() {
    let disk = TestDisk::new(Enforcement::SecureBoot);
    // What a longer image left behind this one must not spoil its signature.
    let mut kernel = disk.probe(Then::PowerOff);
    kernel.extend([0xa5; 10_000]);
    disk.fill(A, CONFIRMED, &kernel);
    let changed = with_a_changed_byte(disk.probe(Then::PowerOff));
    for bad in [unsigned_probe(Then::PowerOff), changed] {
        disk.fill(B, TRIAL, &bad);
        let mut guest = disk.machine().start().unwrap();
        let (partition, said) = probe_runs(&mut guest);
        assert_eq!(partition, disk.partuuid(A));
        let unsigned = refused(B, SlotState::Trial, StartFailure::LoadImage, ACCESS_DENIED);
        assert_eq!(said, report((A, SlotState::Confirmed, 0), Reason::Fallback, &[unsigned]));
        guest.wait_until_ended(BOOT).unwrap();
    }
}

#[test]
fn without_a_slot_that_starts_the_machine_says_so_and_resets_after_a_minute() {
    let disk = TestDisk::new(Enforcement::SecureBoot);
    disk.fill(A, CONFIRMED, &with_a_changed_byte(disk.probe(Then::PowerOff)));
    disk.fill(B, TRIAL, &unsigned_probe(Then::PowerOff));
    let mut guest = skipping_idle_time(&disk).start().unwrap();
    for slot in ["slot B", "slot A"] {
        let refused = format!("{slot} NOT STARTED: its image did not run: the firmware refused");
        guest.wait_for(&refused, BOOT).unwrap();
    }
    guest.wait_for("NOTHING STARTED: no slot could be started", BOOT).unwrap();
    guest.wait_until_paused(BOOT).unwrap();
    // Firmware and selector have been seen to take 4 to 20 of these seconds.
    let time = guest.guest_time().unwrap().as_secs();
    assert!((61..180).contains(&time), "reset after {time} s");
}

#[test]
fn a_hang_before_the_kernel_takes_over_ends_by_the_firmwares_watchdog() {
    let disk = TestDisk::new(Enforcement::Off);
    disk.fill(A, CONFIRMED, &disk.probe(Then::Hang));
    let mut guest = skipping_idle_time(&disk).start().unwrap();
    probe_runs(&mut guest);
    guest.wait_until_paused(BOOT).unwrap();
    let time = guest.guest_time().unwrap().as_secs();
    assert!((300..500).contains(&time), "reset after {time} s");
}

fn skipping_idle_time(disk: &TestDisk) -> QemuBuilder {
    disk.machine().clock(GuestClock::SkipIdle).reboot_policy(RebootPolicy::Pause)
}

#[test]
fn a_damaged_primary_costs_no_slot() {
    let disk = TestDisk::new(Enforcement::Off);
    disk.fill(A, CONFIRMED, &disk.probe(Then::PowerOff));
    disk.fill(B, TRIAL, &disk.probe(Then::PowerOff));
    let good = disk.bytes();
    let primary = disk.copy_range(CopyPlace::Primary);
    let (header_checksum, kernel_b) = (primary.start + 16, primary.start + 512 + 2 * 128 + 54);
    for damaged in [header_checksum, kernel_b] {
        fs::write(&disk.image, &good).unwrap();
        disk.damage(damaged as u64);
        let mut guest = disk.machine().start().unwrap();
        let (partition, said) = probe_runs(&mut guest);
        assert_eq!(partition, disk.partuuid(B), "damaged at {damaged}");
        assert_eq!(said, report((B, SlotState::Trial, 2), Reason::HighestPriority, &[]));
        guest.wait_until_ended(BOOT).unwrap();
        assert_eq!(disk.boot(B), (2, 2, false));
        let backup = disk.copy_range(CopyPlace::Backup);
        assert!(disk.bytes()[backup.clone()] == good[backup], "the backup was written");
        disk.judged_once_an_agent_ran();
    }
}

#[test]
fn a_damaged_backup_costs_no_slot() {
    let disk = TestDisk::new(Enforcement::Off);
    disk.fill(A, CONFIRMED, &disk.probe(Then::PowerOff));
    disk.fill(B, TRIAL, &disk.probe(Then::PowerOff));
    // The checksum of its header; the entries come before it.
    disk.damage(disk.copy_range(CopyPlace::Backup).end as u64 - SECTOR + 16);
    let mut guest = disk.machine().start().unwrap();
    let (partition, said) = probe_runs(&mut guest);
    assert_eq!(partition, disk.partuuid(B));
    assert_eq!(said, report((B, SlotState::Trial, 2), Reason::HighestPriority, &[]));
    guest.wait_until_ended(BOOT).unwrap();
    assert_eq!(disk.boot(B), (2, 2, false));
    disk.judged_once_an_agent_ran();
}

/// An agent that was killed at work: the target's head is zero, some of its body is the new
/// release's and some the old one's, and its bits say that it is empty.
#[test]
fn a_target_that_is_half_written_is_not_looked_at() {
    let disk = TestDisk::new(Enforcement::Off);
    let kernel = disk.probe(Then::PowerOff);
    disk.fill(A, CONFIRMED, &kernel);
    disk.fill(B, CONFIRMED, &kernel);
    let mut torn = vec![0; 4096];
    torn.extend(vec![0xa5; kernel.len() / 2]);
    disk.fill(B, (0, 0, false), &torn);
    let before = disk.bytes();
    let mut guest = disk.machine().start().unwrap();
    let (partition, said) = probe_runs(&mut guest);
    assert_eq!(partition, disk.partuuid(A));
    assert_eq!(said, report((A, SlotState::Confirmed, 0), Reason::OnlyChoice, &[]));
    guest.wait_until_ended(BOOT).unwrap();
    assert!(disk.bytes() == before, "a confirmed boot has written to the disk");
}

#[test]
fn a_try_that_cannot_be_written_is_not_used() {
    let disk = TestDisk::new(Enforcement::Off);
    disk.fill(A, CONFIRMED, &disk.probe(Then::PowerOff));
    disk.fill(B, TRIAL, &disk.probe(Then::PowerOff));
    let good = disk.bytes();
    let backup_header = good.len() as u64 - SECTOR;
    // The firmware repairs a backup, so this one stays damaged only where writes to it fail.
    let backup_stays_damaged = (Some(backup_header + 16), backup_header / SECTOR);
    let primary_takes_no_write = (None, 2);
    // (A primary that the firmware cannot repair keeps it from seeing the disk at all.)
    for (damaged, bad_sector) in [backup_stays_damaged, primary_takes_no_write] {
        fs::write(&disk.image, &good).unwrap();
        damaged.into_iter().for_each(|at| disk.damage(at));
        let before = disk.bytes();
        let machine = disk.machine_without_disk().failing_disk(&disk.image, &[bad_sector]);
        let mut guest = machine.start().unwrap();
        let (partition, said) = probe_runs(&mut guest);
        assert_eq!(partition, disk.partuuid(A), "bad sector {bad_sector}");
        let unwritten = refused(B, SlotState::Trial, StartFailure::TryNotWritten, 0);
        assert_eq!(said, report((A, SlotState::Confirmed, 0), Reason::Fallback, &[unwritten]));
        guest.wait_until_ended(BOOT).unwrap();
        let primary = disk.copy_range(CopyPlace::Primary);
        assert!(disk.bytes()[primary.clone()] == before[primary], "bad sector {bad_sector}");
    }
}
