//! Both copies of a GUID Partition Table, and the one rule for reading them: a valid primary
//! wins, else a valid backup.
//!
//! Valid means what firmware and Linux check too: the header and both checksums. What the
//! entries then say is checked apart ([`TableError::Overlap`] and so on) and fails closed,
//! because another reader would not turn to the backup for it.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::entry::{self, ENTRY_SIZE, Entry};
use crate::header::{CopyFault, Header};
use crate::{BootAttributes, Geometry, GeometryError, Guid, ReadBlocks};

/// One of the two places of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyPlace {
    /// At the beginning of the disk.
    Primary,
    /// At its end.
    Backup,
}

impl CopyPlace {
    /// The block of the header: the second or the last of the disk.
    pub const fn header_lba(self, disk: Geometry) -> u64 {
        match self {
            Self::Primary => 1,
            Self::Backup => disk.last_lba(),
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Primary => Self::Backup,
            Self::Backup => Self::Primary,
        }
    }
}

impl fmt::Display for CopyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
        })
    }
}

/// A copy that has passed every check of the format.
#[derive(Clone, PartialEq, Eq)]
pub struct TableCopy {
    header: Header,
    header_block: Vec<u8>,
    /// Whole blocks; the tail after the last entry is kept as found.
    entries: Vec<u8>,
}

impl fmt::Debug for TableCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header.fmt(f)
    }
}

/// A disk without a table that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The disk itself cannot hold a table.
    #[error("unusable disk")]
    Geometry(#[from] GeometryError),
    /// Neither copy is valid.
    #[error(
        "no valid partition table: restore one before this disk is started again \
         (primary: {primary}; backup: {backup})"
    )]
    NoValidCopy {
        /// What is wrong with the primary.
        primary: CopyFault,
        /// What is wrong with the backup.
        backup: CopyFault,
    },
    /// A partition ends before it begins, or reaches outside the usable blocks.
    #[error("partition {number} covers blocks {first} to {last}, outside the usable ones")]
    OutOfBounds {
        /// Number of the entry, from 1.
        number: u32,
        /// Its first block.
        first: u64,
        /// Its last block.
        last: u64,
    },
    /// Two partitions share blocks.
    #[error("partitions {first} and {second} overlap")]
    Overlap {
        /// The one that begins earlier.
        first: u32,
        /// The other.
        second: u32,
    },
    /// Two partitions have the same identity, so no PARTUUID can be trusted.
    #[error("partition {number} has the identity {guid} of another one")]
    DuplicateGuid {
        /// Number of the second one, from 1.
        number: u32,
        /// The identity.
        guid: Guid,
    },
}

/// A change that cannot be made to a copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// There is no such partition.
    #[error("partition {0} does not exist")]
    NoSuchPartition(u32),
    /// Writing one copy could cost the only valid one.
    #[error("the {place} copy of the table is not valid, so the other one must not be written")]
    OtherCopyInvalid {
        /// The copy that has to be repaired first.
        place: CopyPlace,
    },
    /// The entry array has no room at the place where it would go.
    #[error("no room for the {place} copy's entries between the usable blocks and the disk's edge")]
    NoRoom {
        /// The copy that does not fit.
        place: CopyPlace,
    },
}

impl TableCopy {
    /// Reads and checks the copy at `place`.
    ///
    /// # Errors
    /// What is wrong with it, also when the device cannot read it.
    pub fn read<D: ReadBlocks + ?Sized>(
        device: &D,
        disk: Geometry,
        place: CopyPlace,
    ) -> Result<Self, CopyFault> {
        let lba = place.header_lba(disk);
        let mut header_block = vec![0; disk.block_size() as usize];
        read_blocks(device, lba, &mut header_block)?;
        let header = Header::parse(&header_block, place, disk)?;
        let blocks = disk.blocks_for(header.entries_len() as u64) as usize;
        let mut entries = vec![0; blocks * disk.block_size() as usize];
        read_blocks(device, header.entries_lba, &mut entries)?;
        let computed = crc32fast::hash(&entries[..header.entries_len()]);
        let stored = header.entries_crc;
        if computed != stored {
            return Err(CopyFault::EntriesCrc { stored, computed });
        }
        Ok(Self { header, header_block, entries })
    }

    /// A new primary copy. The entries are at most 128, numbered from 1 within that, and lie
    /// between the two MiB at the disk's edges.
    #[cfg(feature = "std")]
    pub(crate) fn new(disk_guid: Guid, partitions: &[Entry], disk: Geometry) -> Self {
        let mut header = Header::new(disk_guid, disk);
        let mut entries = vec![0; header.entries_len()];
        for entry in partitions {
            let at = (entry.number as usize - 1) * ENTRY_SIZE;
            entry.store(&mut entries[at..at + ENTRY_SIZE]);
        }
        header.entries_crc = crc32fast::hash(&entries);
        let mut header_block = vec![0; disk.block_size() as usize];
        header.store(&mut header_block);
        Self { header, header_block, entries }
    }

    /// The checked header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The partitions in use, by number.
    pub fn partitions(&self) -> impl Iterator<Item = Entry> + '_ {
        let entries = self.entries[..self.header.entries_len()].chunks_exact(ENTRY_SIZE);
        entries.zip(1..).filter_map(|(bytes, number)| Entry::parse(number, bytes))
    }

    /// This copy with bits 48-56 of the given partitions' attributes replaced.
    ///
    /// # Errors
    /// When a partition does not exist.
    pub fn with_attributes(&self, changes: &[(u32, BootAttributes)]) -> Result<Self, EditError> {
        let mut copy = self.clone();
        let used = &mut copy.entries[..self.header.entries_len()];
        for &(number, boot) in changes {
            let entry = (number as usize)
                .checked_sub(1)
                .and_then(|index| used.chunks_exact_mut(ENTRY_SIZE).nth(index))
                .filter(|entry| Entry::parse(number, entry).is_some())
                .ok_or(EditError::NoSuchPartition(number))?;
            let attributes = entry::attributes(entry).with_boot_of(boot);
            entry::set_attributes(entry, attributes);
        }
        copy.header.entries_crc = crc32fast::hash(used);
        copy.header.store(&mut copy.header_block);
        Ok(copy)
    }

    /// The same table as it is to stand at `place`, with the entries next to the header. On a
    /// disk that has grown, the primary then says that the backup is on the new last block.
    ///
    /// # Errors
    /// When the array would reach into the usable blocks.
    pub fn moved_to(&self, place: CopyPlace, disk: Geometry) -> Result<Self, EditError> {
        let mut copy = self.clone();
        copy.header.alternate_lba = place.other().header_lba(disk);
        if self.header.my_lba == place.header_lba(disk) {
            copy.header.store(&mut copy.header_block);
            return Ok(copy);
        }
        let blocks = disk.blocks_for(self.header.entries_len() as u64);
        let (entries_lba, fits) = match place {
            CopyPlace::Primary => (2, 2 + blocks <= self.header.first_usable),
            CopyPlace::Backup => {
                let start = disk.last_lba().saturating_sub(blocks);
                (start, start > self.header.last_usable)
            }
        };
        if !fits {
            return Err(EditError::NoRoom { place });
        }
        copy.header.my_lba = place.header_lba(disk);
        copy.header.entries_lba = entries_lba;
        copy.header.store(&mut copy.header_block);
        Ok(copy)
    }

    /// Every block of this copy with its number, the header last.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let entries = self.entries.chunks_exact(self.header_block.len());
        let entries = (self.header.entries_lba..).zip(entries);
        entries.chain([(self.header.my_lba, self.header_block.as_slice())])
    }

    /// The blocks that differ from `old`, a copy at the same place: all that has to be written
    /// to turn `old` into this one.
    pub fn blocks_unlike<'a>(
        &'a self,
        old: &'a Self,
    ) -> impl Iterator<Item = (u64, &'a [u8])> + 'a {
        self.blocks().filter(|new| !old.blocks().any(|old| old == *new))
    }

    /// Whether both say the same of the disk, leaving aside where each of them lies.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let (one, two) = (&self.header, &other.header);
        let facts = |h: &Header| (h.first_usable, h.last_usable, h.disk_guid, h.entry_count);
        facts(one) == facts(two)
            && self.entries[..one.entries_len()] == other.entries[..two.entries_len()]
    }

    fn check_partitions(&self) -> Result<(), TableError> {
        let mut partitions: Vec<Entry> = self.partitions().collect();
        let mut guids = BTreeSet::new();
        for Entry { number, guid, first_lba: first, last_lba: last, .. } in &partitions {
            let (number, first, last) = (*number, *first, *last);
            if first > last || first < self.header.first_usable || last > self.header.last_usable {
                return Err(TableError::OutOfBounds { number, first, last });
            }
            if !guids.insert(*guid) {
                return Err(TableError::DuplicateGuid { number, guid: *guid });
            }
        }
        partitions.sort_unstable_by_key(|partition| partition.first_lba);
        match partitions.windows(2).find(|pair| pair[1].first_lba <= pair[0].last_lba) {
            Some(pair) => {
                Err(TableError::Overlap { first: pair[0].number, second: pair[1].number })
            }
            None => Ok(()),
        }
    }
}

fn read_blocks<D: ReadBlocks + ?Sized>(
    device: &D,
    lba: u64,
    buf: &mut [u8],
) -> Result<(), CopyFault> {
    device.read(lba, buf).map_err(|source| CopyFault::Unreadable { lba, source: Box::new(source) })
}

/// A table with at least one valid copy, whose entries make sense.
#[derive(Debug)]
pub struct Table {
    disk: Geometry,
    place: CopyPlace,
    current: TableCopy,
    other: Result<TableCopy, CopyFault>,
}

impl Table {
    /// Reads both copies and settles which one counts.
    ///
    /// # Errors
    /// When neither copy is valid, or the one that counts contradicts itself.
    pub fn read<D: ReadBlocks + ?Sized>(device: &D) -> Result<Self, TableError> {
        let disk = Geometry::new(device.block_size(), device.block_count())?;
        let primary = TableCopy::read(device, disk, CopyPlace::Primary);
        let backup = TableCopy::read(device, disk, CopyPlace::Backup);
        let (place, current, other) = match (primary, backup) {
            (Ok(primary), backup) => (CopyPlace::Primary, primary, backup),
            (Err(fault), Ok(backup)) => (CopyPlace::Backup, backup, Err(fault)),
            (Err(primary), Err(backup)) => {
                return Err(TableError::NoValidCopy { primary, backup });
            }
        };
        current.check_partitions()?;
        Ok(Self { disk, place, current, other })
    }

    /// The shape of the disk.
    pub fn geometry(&self) -> Geometry {
        self.disk
    }

    /// Where the copy that counts lies.
    pub fn current_place(&self) -> CopyPlace {
        self.place
    }

    /// The copy that counts.
    pub fn current(&self) -> &TableCopy {
        &self.current
    }

    /// The copy at `place`, or what is wrong with it.
    ///
    /// # Errors
    /// When that copy is not valid.
    pub fn copy(&self, place: CopyPlace) -> Result<&TableCopy, &CopyFault> {
        if place == self.place { Ok(&self.current) } else { self.other.as_ref() }
    }

    /// The partitions of the copy that counts, by number.
    pub fn partitions(&self) -> impl Iterator<Item = Entry> + '_ {
        self.current.partitions()
    }

    /// The primary copy with these changes, for the boot selector, which writes no other.
    ///
    /// Write [`TableCopy::blocks_unlike`] the old primary where that is valid, else all
    /// [`TableCopy::blocks`], then flush and read back.
    ///
    /// # Errors
    /// When the backup is not valid: a torn write would then leave no table at all.
    pub fn edit_primary(&self, changes: &[(u32, BootAttributes)]) -> Result<TableCopy, EditError> {
        if self.copy(CopyPlace::Backup).is_err() {
            return Err(EditError::OtherCopyInvalid { place: CopyPlace::Backup });
        }
        self.current.with_attributes(changes)?.moved_to(CopyPlace::Primary, self.disk)
    }
}

#[cfg(test)]
mod tests;
