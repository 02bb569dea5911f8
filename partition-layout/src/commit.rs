//! How a change of boot attributes reaches the medium.
//!
//! The copy that does not count, because it is older, invalid or the backup, is written first,
//! flushed and read back; only then the copy that counts. Whatever is lost on the way, one copy
//! is whole: with the old attributes until the copy that counts is touched, with the new ones
//! from then on.
//!
//! On a disk that has grown the backup does not count either: no reader looks for it where it was
//! once the primary is torn. So it is written to the last block first, and the primary, which
//! then says so, second.

use std::io;

use crate::device::{BlockDevice, Blocks, TableLock};
use crate::header::CopyFault;
use crate::table::EditError;
use crate::{BootAttributes, CopyPlace, Table, TableCopy, TableError};

/// Proof that both copies of the table are on the medium and were read back.
#[derive(Debug)]
#[must_use = "the step that relies on the change takes this as its proof"]
pub struct Durable(());

/// A step of a commit on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Waiting for the lock on the disk.
    Lock,
    /// Flushing what others wrote before.
    FlushEarlier,
    /// Writing a copy.
    Write(CopyPlace),
    /// Flushing it.
    Flush(CopyPlace),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lock => f.write_str("cannot lock the disk"),
            Self::FlushEarlier => f.write_str("cannot flush the disk"),
            Self::Write(place) => write!(f, "cannot write the {place} copy of the table"),
            Self::Flush(place) => write!(f, "cannot flush the {place} copy of the table"),
        }
    }
}

/// A commit that did not complete. The table still has a valid copy, with all of the old or all
/// of the new attributes: read it to know which.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The device failed.
    #[error("{step}")]
    Device {
        /// What was being done.
        step: Step,
        /// What the system says.
        source: io::Error,
    },
    /// There is no table to change.
    #[error("cannot read the partition table")]
    Read(#[from] TableError),
    /// The change cannot be made.
    #[error("cannot change the partition table")]
    Edit(#[from] EditError),
    /// What was written is not valid when read back. The other copy was left alone.
    #[error("the {place} copy of the table was written and reads back damaged: replace the disk?")]
    ReadBack {
        /// The copy.
        place: CopyPlace,
        /// What is wrong with it.
        source: CopyFault,
    },
    /// What was written is valid, but something else. The other copy was left alone.
    #[error(
        "the {place} copy of the table was written and reads back as something else: is another program writing it?"
    )]
    ReadBackDiffers {
        /// The copy.
        place: CopyPlace,
    },
}

/// What [`repair_backup`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Both copies were valid and the same.
    NothingToDo,
    /// The backup was older or invalid, and is now as the primary.
    Backup,
    /// The primary was invalid, and is now as the backup.
    Primary,
    /// The disk has grown: the backup is now on its last block, and the primary says so.
    BackupMoved,
}

/// Sets bits 48-56 of the given partitions (numbers from 1), all together or not at all.
///
/// # Errors
/// Before the first write when the table cannot be changed safely, later when the device fails.
pub fn commit(
    device: &dyn BlockDevice,
    changes: &[(u32, BootAttributes)],
) -> Result<Durable, CommitError> {
    let locked = LockedTable::read(device)?;
    locked.write_copies(changes).map(|(durable, _)| durable)
}

/// As [`commit`], with changes that depend on what the table says: `decide` is asked while the
/// lock is held, so that nobody changes the table between its look and the write.
///
/// # Errors
/// As [`commit`]; the inner one is what `decide` said, with nothing written.
pub fn commit_with<E>(
    device: &dyn BlockDevice,
    decide: impl FnOnce(&Table) -> Result<Vec<(u32, BootAttributes)>, E>,
) -> Result<Result<Durable, E>, CommitError> {
    let locked = LockedTable::read(device)?;
    match decide(&locked.table) {
        Ok(changes) => locked.write_copies(&changes).map(|(durable, _)| Ok(durable)),
        Err(refused) => Ok(Err(refused)),
    }
}

/// Brings an older or invalid copy up to date: the backup after the firmware has written the
/// primary alone, or whichever a power cut has torn.
///
/// # Errors
/// As [`commit`].
pub fn repair_backup(device: &dyn BlockDevice) -> Result<Repair, CommitError> {
    LockedTable::read(device)?.write_copies(&[]).map(|(_, repair)| repair)
}

/// A table that nobody else changes.
struct LockedTable<'d> {
    device: &'d dyn BlockDevice,
    table: Table,
    _lock: TableLock,
}

impl<'d> LockedTable<'d> {
    fn read(device: &'d dyn BlockDevice) -> Result<Self, CommitError> {
        let lock = device.lock().map_err(at(Step::Lock))?;
        // The firmware's own write may still be in the drive's cache. Torn there after the backup
        // has been touched too, it would leave no table.
        device.flush().map_err(at(Step::FlushEarlier))?;
        Ok(Self { device, table: Table::read_device(device)?, _lock: lock })
    }

    fn write_copies(
        self,
        changes: &[(u32, BootAttributes)],
    ) -> Result<(Durable, Repair), CommitError> {
        let table = &self.table;
        let (current, disk) = (table.current_place(), table.geometry());
        let changed = table.current().with_attributes(changes)?;

        for place in [current.other(), current] {
            write_copy(self.device, table, &changed.moved_to(place, disk)?, place)?;
        }
        let repair = match (table.copy(current.other()), current) {
            _ if says_another_last(table) => Repair::BackupMoved,
            (Ok(other), _) if other.says_the_same(table.current()) => Repair::NothingToDo,
            (_, CopyPlace::Primary) => Repair::Backup,
            (_, CopyPlace::Backup) => Repair::Primary,
        };
        Ok((Durable(()), repair))
    }
}

fn says_another_last(table: &Table) -> bool {
    let backup = CopyPlace::Backup.header_lba(table.geometry());
    table.copy(CopyPlace::Primary).is_ok_and(|primary| primary.header().alternate_lba != backup)
}

/// Only the blocks that change are written, so that a medium that damages more than it writes
/// has little to damage.
fn write_copy(
    device: &dyn BlockDevice,
    table: &Table,
    wanted: &TableCopy,
    place: CopyPlace,
) -> Result<(), CommitError> {
    let disk = table.geometry();
    let blocks: Vec<(u64, &[u8])> = match table.copy(place) {
        Ok(old) if old == wanted => return Ok(()),
        Ok(old) => wanted.blocks_unlike(old).collect(),
        Err(_) => wanted.blocks().collect(),
    };
    for (lba, block) in blocks {
        let offset = lba * u64::from(disk.block_size());
        device.write_at(offset, block).map_err(at(Step::Write(place)))?;
    }
    device.flush().map_err(at(Step::Flush(place)))?;
    match TableCopy::read(&Blocks(device), disk, place) {
        Ok(found) if found == *wanted => Ok(()),
        Ok(_) => Err(CommitError::ReadBackDiffers { place }),
        Err(source) => Err(CommitError::ReadBack { place, source }),
    }
}

fn at(step: Step) -> impl FnOnce(io::Error) -> CommitError {
    move |source| CommitError::Device { step, source }
}

#[cfg(test)]
mod tests;
