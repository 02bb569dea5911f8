//! Power cuts on disks that have another size than when their table was made.

use super::*;
use crate::header::Header;

/// By how many blocks: so few that the new backup lies over the old one's header, over its
/// entries, just beside it, and far away.
const GROWTHS: [u64; 5] = [1, 5, 32, 33, 2048];

#[test]
fn a_power_cut_on_a_disk_that_has_grown_leaves_one_that_boots() {
    for block_size in [512, 4096] {
        for (growth, (before, after)) in
            GROWTHS.into_iter().flat_map(|growth| COMMITS.map(|commit| (growth, commit)))
        {
            let start = grown(disk_with(block_size, before), growth);
            let old = slots(&start);
            let disk = RecordingDisk::new(start);
            let _durable = commit(&disk, &attributes(after)).unwrap();
            let new = slots(&disk);
            for image in disk.crash_images() {
                assert_boots(&image);
                let found = slots(&image);
                assert!(found == old || found == new, "{found:?}");
                // Whatever the cut left is brought in line by the next one.
                repair_backup(&image).unwrap();
                assert_in_line(&image);
                assert_eq!(slots(&image), found);
            }
        }
    }
}

/// Both copies are valid, say the same, and point at each other.
fn assert_in_line(disk: &MemoryDisk) {
    let table = Table::read_device(disk).unwrap();
    assert!(CopiesHealth::of(&table).agree());
    let header = |place| table.copy(place).unwrap().header().clone();
    let last = disk.size() / u64::from(disk.block_size()) - 1;
    let (primary, backup) = (header(CopyPlace::Primary), header(CopyPlace::Backup));
    assert_eq!((primary.alternate_lba, backup.my_lba, backup.alternate_lba), (last, last, 1));
    let usable = |header: &Header| (header.first_usable, header.last_usable);
    assert_eq!(usable(&primary), usable(&backup));
}

#[test]
fn the_backup_moves_to_a_new_last_block_before_the_primary_says_so() {
    let disk = RecordingDisk::new(grown(disk_with(512, &[(KERNEL_A, (1, 0, true))]), 2048));
    assert_eq!(repair_backup(&disk).unwrap(), Repair::BackupMoved);
    assert_in_line(&disk.image());
    let last = disk.size() / 512 - 1;
    let log = disk.log();
    let position = |wanted: u64| {
        let is_wanted =
            |op: &Operation| matches!(op, Operation::Write { lba, .. } if *lba == wanted);
        log.iter().position(is_wanted).unwrap()
    };
    let (backup, primary) = (position(last), position(1));
    assert!(log[backup..primary].contains(&Operation::Flush), "{log:?}");
    assert_eq!(repair_backup(&disk).unwrap(), Repair::NothingToDo);
}

/// The old backup is still where it was, and older than the primary, which must count.
#[test]
fn a_disk_that_grew_and_shrank_again_is_read_by_its_primary() {
    let small = disk_with(512, &[(KERNEL_A, (1, 0, true))]);
    let size = small.size();
    let disk = grown(small, 2048);
    let _durable = commit(&disk, &[(KERNEL_B, boot((2, 3, false)))]).unwrap();
    let now = slots(&disk);
    let disk = disk.resized(size);
    assert_eq!(slots(&disk), now);
    assert_eq!(health(&disk).backup, CopyHealth::Older);
    assert_eq!(repair_backup(&disk).unwrap(), Repair::BackupMoved);
    assert_in_line(&disk);
    assert_eq!(slots(&disk), now);
}
