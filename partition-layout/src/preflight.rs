//! What must be true of a disk before the first byte of an update is written to it.

use std::io;

use crate::commit::{CommitError, Repair, repair_backup};
use crate::device::BlockDevice;
use crate::layout::Layout;
use crate::protective_mbr;
use crate::slot_table::{DiscoverError, SlotTable};

/// A disk that may be updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreflightReport {
    /// Its slots; both copies of the table say so.
    pub table: SlotTable,
    /// What had to be repaired first.
    pub repaired: Repair,
}

/// A disk that must not be updated as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreflightError {
    /// The first block cannot be read.
    #[error("cannot read the protective MBR")]
    Read(#[source] io::Error),
    /// Firmware and kernel would see no partitions once the cached ones are gone.
    #[error("the disk has no valid protective MBR: write one with `sgdisk -e DISK`")]
    ProtectiveMbr,
    /// The copies of the table cannot be made to agree.
    #[error("the partition table is not fit for an update")]
    Table(#[from] CommitError),
    /// The slots are not there.
    #[error("the disk is not fit for an update")]
    Discover(#[from] DiscoverError),
}

/// Checks the disk, and brings an older or torn copy of the table up to date, or one that a
/// larger disk has left behind its end.
///
/// A torn copy is repaired rather than refused: a power cut during [`commit`](crate::commit())
/// leaves one, and a device that then waits for a person would have been stopped by its own
/// update. Whether images fit is asked of [`Partition::check_fit`](crate::Partition::check_fit).
///
/// # Errors
/// When the disk needs a repair that a person has to make; the message names it.
pub fn preflight(
    device: &dyn BlockDevice,
    layout: &Layout,
) -> Result<PreflightReport, PreflightError> {
    let mut mbr = [0; protective_mbr::MBR_SIZE];
    device.read_at(0, &mut mbr).map_err(PreflightError::Read)?;
    if !protective_mbr::is_valid(&mbr) {
        return Err(PreflightError::ProtectiveMbr);
    }
    // The slots first: nothing is written to a disk that is not ours.
    SlotTable::read(device, layout)?;
    let repaired = repair_backup(device)?;
    let table = SlotTable::read(device, layout)?;
    Ok(PreflightReport { table, repaired })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MemoryDisk, RecordingDisk, sample_disk};

    fn check(prepare: impl FnOnce(&MemoryDisk)) -> Result<Repair, String> {
        let disk = sample_disk(512);
        prepare(&disk);
        let report = preflight(&disk, &Layout::standard());
        report.map(|report| report.repaired).map_err(|error| error.to_string())
    }

    #[test]
    fn a_sound_disk_passes_and_torn_copies_are_repaired() {
        assert_eq!(check(|_| {}), Ok(Repair::NothingToDo));
        assert_eq!(check(|disk| disk.damage(disk.size() / 512 - 1, 0)), Ok(Repair::Backup));
        assert_eq!(check(|disk| disk.damage(2, 0)), Ok(Repair::Primary));
        let grown = sample_disk(512).resized(40 << 20);
        let report = preflight(&grown, &Layout::standard()).unwrap();
        assert_eq!(report.repaired, Repair::BackupMoved);
        assert!(report.table.copies.agree());
    }

    #[test]
    fn without_a_protective_mbr_the_repair_is_named() {
        for prepare in [
            (|disk| disk.set_block(0, vec![0; 512])) as fn(&MemoryDisk),
            |disk| disk.damage(0, 450),
            |disk| disk.damage(0, 454),
            |disk| disk.damage(0, 510),
        ] {
            assert!(check(prepare).unwrap_err().contains("sgdisk -e DISK"));
        }
    }

    #[test]
    fn nothing_is_written_to_a_disk_that_is_not_ours() {
        let disk = sample_disk(512);
        disk.damage(2, 0);
        let disk = RecordingDisk::new(disk);
        let other = Layout::from_toml("root = \"SYSTEM-\"").unwrap();
        let error = preflight(&disk, &other).unwrap_err();
        assert!(matches!(error, PreflightError::Discover(DiscoverError::Missing { .. })));
        assert!(disk.log().is_empty());
    }
}
