//! Hostile and damaged tables.

use std::string::ToString;

use proptest::prelude::*;

use super::*;
use crate::device::Blocks;
use crate::header::u64_at;
use crate::testing::{MemoryDisk, sample_disk};

const BLOCK_SIZES: [u32; 2] = [512, 4096];

fn read(disk: &MemoryDisk) -> Result<Table, TableError> {
    Table::read_device(disk)
}

fn fault(disk: &MemoryDisk, place: CopyPlace) -> String {
    let geometry = read(disk).unwrap().geometry();
    TableCopy::read(&Blocks(disk), geometry, place).unwrap_err().to_string()
}

/// Changes bytes of the header at `place` and makes its checksum fit again.
fn forge(disk: &MemoryDisk, place: CopyPlace, at: usize, bytes: &[u8]) {
    let geometry = read(disk).unwrap().geometry();
    let lba = place.header_lba(geometry);
    let mut block = disk.block(lba);
    block[at..at + bytes.len()].copy_from_slice(bytes);
    let size = u32::from_le_bytes([block[12], block[13], block[14], block[15]]) as usize;
    block[16..20].fill(0);
    let crc = crc32fast::hash(&block[..size.min(block.len())]);
    block[16..20].copy_from_slice(&crc.to_le_bytes());
    disk.set_block(lba, block);
}

/// Changes bytes of entry `number` in both copies and makes all checksums fit again.
fn forge_entry(disk: &MemoryDisk, number: usize, at: usize, bytes: &[u8]) {
    let table = read(disk).unwrap();
    for place in [CopyPlace::Primary, CopyPlace::Backup] {
        let mut copy = table.copy(place).unwrap().clone();
        let at = (number - 1) * ENTRY_SIZE + at;
        copy.entries[at..at + bytes.len()].copy_from_slice(bytes);
        copy.header.entries_crc = crc32fast::hash(&copy.entries);
        copy.header.store(&mut copy.header_block);
        for (lba, block) in copy.blocks() {
            disk.set_block(lba, block.to_vec());
        }
    }
}

#[test]
fn every_check_of_the_header_refuses() {
    for block_size in BLOCK_SIZES {
        let good = sample_disk(block_size);
        let last = read(&good).unwrap().geometry().last_lba();
        let check = |at: usize, bytes: &[u8], expected: &str| {
            let disk = good.clone();
            forge(&disk, CopyPlace::Primary, at, bytes);
            let found = fault(&disk, CopyPlace::Primary);
            assert!(found.contains(expected), "bytes at {at}: {found:?}, not {expected:?}");
            assert_eq!(read(&disk).unwrap().current_place(), CopyPlace::Backup);
        };
        let wide = u64::MAX.to_le_bytes();
        check(0, b"EFI PARX", "no GPT signature");
        check(8, &[0, 0, 2, 0], "revision 0x20000");
        check(12, &91_u32.to_le_bytes(), "header size 91");
        check(12, &(block_size + 1).to_le_bytes(), "header size");
        check(12, &u32::MAX.to_le_bytes(), "header size");
        check(24, &2_u64.to_le_bytes(), "says it belongs to block 2");
        check(32, &1_u64.to_le_bytes(), "the other copy cannot be at block 1");
        check(40, &1_u64.to_le_bytes(), "impossible");
        check(40, &wide, "impossible");
        check(48, &last.to_le_bytes(), "impossible");
        check(48, &wide, "impossible");
        check(72, &0_u64.to_le_bytes(), "impossible");
        check(72, &1_u64.to_le_bytes(), "impossible");
        check(72, &40_u64.to_le_bytes(), "impossible");
        check(72, &wide, "impossible");
        check(80, &0_u32.to_le_bytes(), "0 entries");
        check(80, &1025_u32.to_le_bytes(), "1025 entries");
        check(80, &u32::MAX.to_le_bytes(), "4294967295 entries");
        check(80, &127_u32.to_le_bytes(), "entries checksum");
        check(84, &256_u32.to_le_bytes(), "of 256 bytes");
        check(88, &[1, 2, 3, 4], "entries checksum");
    }
}

#[test]
fn the_backup_is_checked_as_a_backup() {
    let check = |at: usize, value: u64, expected: &str| {
        let disk = sample_disk(512);
        forge(&disk, CopyPlace::Backup, at, &value.to_le_bytes());
        let found = fault(&disk, CopyPlace::Backup);
        assert!(found.contains(expected), "{value} at {at}: {found:?}, not {expected:?}");
    };
    check(24, 1, "says it belongs to block 1");
    check(32, 7, "the other copy cannot be at block 7");
    check(40, 1, "impossible");
    check(72, 2, "impossible");
}

#[test]
fn valid_primary_wins_else_valid_backup() {
    for block_size in BLOCK_SIZES {
        let disk = sample_disk(block_size);
        let last = read(&disk).unwrap().geometry().last_lba();
        // The backup says something else: the primary counts.
        let boot = BootAttributes::from_bits(0x0101_0000_0000_0000);
        let copy = read(&disk).unwrap().copy(CopyPlace::Backup).unwrap().clone();
        for (lba, block) in copy.with_attributes(&[(2, boot)]).unwrap().blocks() {
            disk.set_block(lba, block.to_vec());
        }
        let kernel = |disk: &MemoryDisk| {
            let table = read(disk).unwrap();
            (table.current_place(), table.partitions().nth(1).unwrap().attributes)
        };
        assert_eq!(kernel(&disk), (CopyPlace::Primary, BootAttributes::default()));
        // One bit of the primary's entries is gone: the backup counts.
        disk.damage(2, 300);
        assert_eq!(kernel(&disk), (CopyPlace::Backup, boot));
        // And one of the backup's header.
        disk.damage(last, 60);
        let error = read(&disk).unwrap_err();
        assert!(matches!(error, TableError::NoValidCopy { .. }), "{error}");
    }
}

#[test]
fn entries_that_contradict_each_other_are_refused_whatever_the_other_copy_says() {
    let check = |number, at, bytes: &[u8], expected: &str| {
        let disk = sample_disk(512);
        forge_entry(&disk, number, at, bytes);
        let found = read(&disk).unwrap_err().to_string();
        assert!(found.contains(expected), "{found:?}, not {expected:?}");
        // A sound backup does not help: other readers would still follow the primary.
        let sound = read(&sample_disk(512)).unwrap();
        for (lba, block) in sound.copy(CopyPlace::Backup).unwrap().blocks() {
            disk.set_block(lba, block.to_vec());
        }
        assert!(read(&disk).unwrap_err().to_string().contains(expected));
    };
    let second = read(&sample_disk(512)).unwrap().partitions().nth(1).unwrap();
    check(1, 40, &second.first_lba.to_le_bytes(), "partitions 1 and 2 overlap");
    check(3, 32, &second.last_lba.to_le_bytes(), "partitions 2 and 3 overlap");
    check(3, 32, &u64::MAX.to_le_bytes(), "partition 3 covers blocks");
    check(3, 40, &u64::MAX.to_le_bytes(), "partition 3 covers blocks");
    check(1, 32, &0_u64.to_le_bytes(), "partition 1 covers blocks 0");
    check(3, 16, &second.guid.to_bytes(), "partition 3 has the identity");
}

#[test]
fn an_edit_touches_the_attributes_and_the_checksums_alone() {
    for block_size in BLOCK_SIZES {
        let disk = sample_disk(block_size);
        let old = read(&disk).unwrap();
        // Every bit of the wish is set; those of ROOT-A's no-auto bit may not go.
        let new = old.edit_primary(&[(3, BootAttributes::from_bits(u64::MAX))]).unwrap();
        let root = old.edit_primary(&[(4, BootAttributes::default())]).unwrap();
        let old = old.copy(CopyPlace::Primary).unwrap();
        assert_eq!(root, *old);

        let bytes = |copy: &TableCopy| -> Vec<u8> {
            copy.blocks().flat_map(|(_, block)| block.to_vec()).collect()
        };
        let (old, new) = (bytes(old), bytes(&new));
        let changed: Vec<usize> = (0..old.len()).filter(|&i| old[i] != new[i]).collect();
        let header = old.len() - block_size as usize;
        let attributes = 2 * ENTRY_SIZE + 48;
        for at in &changed {
            let allowed = *at == attributes + 6
                || *at == attributes + 7
                || (header + 16..header + 20).contains(at)
                || (header + 88..header + 92).contains(at);
            assert!(allowed, "byte {at} changed");
        }
        let field = |bytes: &[u8]| u64_at(bytes, attributes);
        assert_eq!(field(&new) ^ field(&old), 0x01FF_0000_0000_0000);
    }
}

#[test]
fn the_primary_alone_is_not_edited_without_a_valid_backup() {
    let disk = sample_disk(512);
    disk.damage(read(&disk).unwrap().geometry().last_lba(), 0);
    let error = read(&disk).unwrap().edit_primary(&[]).unwrap_err();
    assert!(matches!(error, EditError::OtherCopyInvalid { place: CopyPlace::Backup }));
    let error = read(&sample_disk(512)).unwrap().edit_primary(&[(9, BootAttributes::default())]);
    assert!(matches!(error, Err(EditError::NoSuchPartition(9))));
    let error = read(&sample_disk(512)).unwrap().edit_primary(&[(0, BootAttributes::default())]);
    assert!(matches!(error, Err(EditError::NoSuchPartition(0))));
}

/// A copy is rebuilt only where it cannot reach into a partition.
#[test]
fn a_copy_without_room_is_not_made() {
    let check = |kept: CopyPlace, at: usize, value: u64| {
        let disk = sample_disk(512);
        forge(&disk, kept, at, &value.to_le_bytes());
        let geometry = read(&disk).unwrap().geometry();
        let copy = TableCopy::read(&Blocks(&disk), geometry, kept).unwrap();
        let error = copy.moved_to(kept.other(), geometry).unwrap_err();
        assert!(matches!(error, EditError::NoRoom { place } if place == kept.other()), "{error}");
    };
    let last = read(&sample_disk(512)).unwrap().geometry().last_lba();
    check(CopyPlace::Primary, 48, last - 32);
    check(CopyPlace::Primary, 48, last - 1);
    check(CopyPlace::Backup, 40, 33);
    check(CopyPlace::Backup, 40, 2);
}

#[test]
fn disks_that_cannot_hold_a_table_are_refused() {
    for (block_size, count) in
        [(0, 100), (1, 100), (520, 100), (8192, 100), (512, 5), (512, u64::MAX)]
    {
        assert!(Geometry::new(block_size, count).is_err(), "{count} blocks of {block_size}");
    }
    assert!(Geometry::new(4096, 1 << 40).is_ok());
}

proptest! {
    /// Whatever single byte is damaged, the reader gives the partitions as they were written.
    #[test]
    fn no_damaged_byte_goes_unseen(
        wide in any::<bool>(),
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        mask in 1_u8..,
    ) {
        let block_size = if wide { 4096 } else { 512 };
        let disk = sample_disk(block_size);
        let table = read(&disk).unwrap();
        let copies = [CopyPlace::Primary, CopyPlace::Backup].map(|p| table.copy(p).unwrap());
        let blocks: Vec<u64> = copies.iter().flat_map(|c| c.blocks().map(|(lba, _)| lba)).collect();
        let lba = *which.get(&blocks);
        let mut block = disk.block(lba);
        *at.get_mut(&mut block) ^= mask;
        disk.set_block(lba, block);
        let partitions: Vec<Entry> = read(&disk).unwrap().partitions().collect();
        prop_assert_eq!(partitions, table.partitions().collect::<Vec<_>>());
    }

    /// Headers that are signed nonsense never panic and never ask for much memory.
    #[test]
    fn signed_nonsense_never_panics(
        fields in prop::collection::vec((0_usize..11, prop::num::u64::ANY, any::<bool>()), 1..5),
        noise in prop::collection::vec(any::<u8>(), 512),
    ) {
        const OFFSETS: [usize; 11] = [12, 24, 32, 40, 48, 56, 64, 72, 80, 84, 88];
        let disk = sample_disk(512);
        disk.set_block(2, noise);
        for (field, value, small) in fields {
            let value = if small { value % 70_000 } else { value };
            forge(&disk, CopyPlace::Primary, OFFSETS[field], &value.to_le_bytes());
        }
        if let Ok(table) = read(&disk) {
            let _ = table.edit_primary(&[(2, BootAttributes::default())]);
        }
    }
}
