//! The one thing that the selector writes: a trial's tries, less one, to the primary copy of the
//! table.
//!
//! The backup is never touched, and the primary only while the backup is valid: between the two
//! blocks of this write, and behind a driver whose flush does nothing, no power cut can cost more
//! than the primary, and readers then take the backup, where the try is merely not yet counted.

use partition_layout::table::EditError;
use partition_layout::{CopyPlace, Entry, Nibble, Table, TableCopy};

use crate::disk::{Disk, DiskError};

/// The right to write, given once per boot and used up by the attempt.
pub struct OneTry(());

impl OneTry {
    /// For the start of the program only.
    pub fn of_this_boot() -> Self {
        Self(())
    }
}

/// Proof that the try is on the medium: it was read back.
pub struct Counted(());

/// Why a try is not on the medium.
#[derive(Debug, thiserror::Error)]
pub enum TryError {
    /// A second trial in one boot.
    #[error("a try was written in this boot already")]
    SecondInThisBoot,
    /// The table cannot be changed.
    #[error("the primary table must not be written")]
    Edit(#[from] EditError),
    /// The disk failed.
    #[error("the primary table was not written")]
    Disk(#[from] DiskError),
    /// The disk kept something else.
    #[error("the primary table reads back different from what was written")]
    ReadBack,
}

/// Writes `tries` to the kernel entry, flushes, and reads the primary back.
pub fn write(
    right: Option<OneTry>,
    disk: &Disk,
    table: &Table,
    entry: &Entry,
    tries: Nibble,
) -> Result<Counted, TryError> {
    let OneTry(()) = right.ok_or(TryError::SecondInThisBoot)?;
    let attributes = entry.attributes.with_boot(entry.attributes.priority(), tries, false);
    let new = table.edit_primary(&[(entry.number, attributes)])?;
    write_primary(disk, table, &new)?;
    match TableCopy::read(disk, table.geometry(), CopyPlace::Primary) {
        Ok(found) if found == new => Ok(Counted(())),
        _ => Err(TryError::ReadBack),
    }
}

fn write_primary(disk: &Disk, table: &Table, new: &TableCopy) -> Result<(), DiskError> {
    match table.copy(CopyPlace::Primary) {
        Ok(old) => {
            for (lba, block) in new.blocks_unlike(old) {
                disk.write_block(lba, block)?;
            }
        }
        // An invalid primary is made anew from the backup that was decided by.
        Err(_) => {
            for (lba, block) in new.blocks() {
                disk.write_block(lba, block)?;
            }
        }
    }
    disk.flush()
}
