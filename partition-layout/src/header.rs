//! One header of a GUID Partition Table (UEFI 2.10, section 5.3.2).

use alloc::boxed::Box;
use core::ops::Range;

use crate::entry::ENTRY_SIZE;
use crate::{CopyPlace, Geometry, Guid};

const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;

// Each field begins where the one before it ends.
const SIGNATURE_AT: usize = 0;
const REVISION_AT: usize = SIGNATURE_AT + 8;
const HEADER_SIZE_AT: usize = REVISION_AT + 4;
const HEADER_CRC_AT: usize = HEADER_SIZE_AT + 4;
const RESERVED_AT: usize = HEADER_CRC_AT + 4;
const MY_LBA_AT: usize = RESERVED_AT + 4;
const ALTERNATE_LBA_AT: usize = MY_LBA_AT + 8;
const FIRST_USABLE_AT: usize = ALTERNATE_LBA_AT + 8;
const LAST_USABLE_AT: usize = FIRST_USABLE_AT + 8;
const DISK_GUID_AT: usize = LAST_USABLE_AT + 8;
const ENTRIES_LBA_AT: usize = DISK_GUID_AT + 16;
const ENTRY_COUNT_AT: usize = ENTRIES_LBA_AT + 8;
const ENTRY_SIZE_AT: usize = ENTRY_COUNT_AT + 4;
const ENTRIES_CRC_AT: usize = ENTRY_SIZE_AT + 4;
const HEADER_SIZE_MIN: usize = ENTRIES_CRC_AT + 4;

/// Bounds the memory that a hostile header can ask for: 128 KiB. sgdisk and UEFI make 128.
pub const ENTRY_COUNT_MAX: u32 = 1024;

/// What is wrong with one copy of the table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyFault {
    /// The device failed to read it.
    #[error("block {lba} cannot be read")]
    Unreadable {
        /// First block of the failed read.
        lba: u64,
        /// What the device said.
        source: Box<dyn core::error::Error + Send + Sync>,
    },
    /// There is no GPT header.
    #[error("no GPT signature")]
    Signature,
    /// Made by another revision of the format.
    #[error("revision {0:#x}, expected 0x10000")]
    Revision(u32),
    /// Smaller than the fields or larger than the block.
    #[error("header size {0} is out of bounds")]
    HeaderSize(u32),
    /// The header is torn or damaged.
    #[error("header checksum is {computed:08x}, the header says {stored:08x}")]
    HeaderCrc {
        /// What the header says.
        stored: u32,
        /// What its bytes amount to.
        computed: u32,
    },
    /// The header belongs elsewhere.
    #[error("header at block {found} says it belongs to block {stored}")]
    MyLba {
        /// What the header says.
        stored: u64,
        /// Where it was found.
        found: u64,
    },
    /// The other copy cannot be where the header says it is.
    #[error("the other copy cannot be at block {0}")]
    AlternateLba(u64),
    /// Entries of a size that Linux does not read, or an absurd number of them.
    #[error("{count} entries of {size} bytes: expected 1 to {ENTRY_COUNT_MAX} of {ENTRY_SIZE}")]
    EntryArray {
        /// Number of entries.
        count: u32,
        /// Bytes per entry.
        size: u32,
    },
    /// Header, entries and usable blocks overlap or leave the disk.
    #[error(
        "entries at block {entries}, usable blocks {first_usable} to {last_usable}: impossible"
    )]
    Placement {
        /// First block of the entry array.
        entries: u64,
        /// First usable block.
        first_usable: u64,
        /// Last usable block.
        last_usable: u64,
    },
    /// The entry array is torn or damaged.
    #[error("entries checksum is {computed:08x}, the header says {stored:08x}")]
    EntriesCrc {
        /// What the header says.
        stored: u32,
        /// What the array's bytes amount to.
        computed: u32,
    },
}

/// A header whose own checks have passed. Its array has yet to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Block of this header.
    pub my_lba: u64,
    /// Block of the other copy's header.
    pub alternate_lba: u64,
    /// First block that a partition may use.
    pub first_usable: u64,
    /// Last block that a partition may use.
    pub last_usable: u64,
    /// Identity of the disk.
    pub disk_guid: Guid,
    /// First block of the entry array.
    pub entries_lba: u64,
    /// Number of entries, used or not.
    pub entry_count: u32,
    pub(crate) entries_crc: u32,
    size: u32,
}

impl Header {
    /// Checks the header in `block`, found at `place`.
    ///
    /// # Errors
    /// Names the first check that failed.
    ///
    /// # Panics
    /// Never for a block of the geometry's block size.
    pub fn parse(block: &[u8], place: CopyPlace, disk: Geometry) -> Result<Self, CopyFault> {
        if bytes::<8>(block, SIGNATURE_AT) != *SIGNATURE {
            return Err(CopyFault::Signature);
        }
        let revision = u32_at(block, REVISION_AT);
        if revision != REVISION {
            return Err(CopyFault::Revision(revision));
        }
        let size = u32_at(block, HEADER_SIZE_AT);
        if (size as usize) < HEADER_SIZE_MIN || size > disk.block_size() {
            return Err(CopyFault::HeaderSize(size));
        }
        let (stored, computed) = (u32_at(block, HEADER_CRC_AT), header_crc(block, size));
        if stored != computed {
            return Err(CopyFault::HeaderCrc { stored, computed });
        }
        let header = Self {
            my_lba: u64_at(block, MY_LBA_AT),
            alternate_lba: u64_at(block, ALTERNATE_LBA_AT),
            first_usable: u64_at(block, FIRST_USABLE_AT),
            last_usable: u64_at(block, LAST_USABLE_AT),
            disk_guid: Guid::from_bytes(bytes(block, DISK_GUID_AT)),
            entries_lba: u64_at(block, ENTRIES_LBA_AT),
            entry_count: u32_at(block, ENTRY_COUNT_AT),
            entries_crc: u32_at(block, ENTRIES_CRC_AT),
            size,
        };
        header.check(u32_at(block, ENTRY_SIZE_AT), place, disk)?;
        Ok(header)
    }

    fn check(&self, entry_size: u32, place: CopyPlace, disk: Geometry) -> Result<(), CopyFault> {
        let found = place.header_lba(disk);
        if self.my_lba != found {
            return Err(CopyFault::MyLba { stored: self.my_lba, found });
        }
        // Linux reads entries of exactly 128 bytes: another size would be our table alone.
        if entry_size as usize != ENTRY_SIZE || !(1..=ENTRY_COUNT_MAX).contains(&self.entry_count) {
            return Err(CopyFault::EntryArray { count: self.entry_count, size: entry_size });
        }
        let (alternate_fits, room) = match place {
            // Not held against the disk's end, as firmware and Linux do not: a disk that was
            // resized since would else count for one reader and not for the other.
            CopyPlace::Primary => {
                (self.alternate_lba > self.last_usable, self.my_lba + 1..self.first_usable)
            }
            CopyPlace::Backup => (
                self.alternate_lba == CopyPlace::Primary.header_lba(disk),
                self.last_usable.saturating_add(1)..self.my_lba,
            ),
        };
        let usable = self.first_usable <= self.last_usable && self.last_usable < disk.last_lba();
        if !usable || self.first_usable < 2 || !contains(&room, self.entry_blocks(disk)) {
            return Err(CopyFault::Placement {
                entries: self.entries_lba,
                first_usable: self.first_usable,
                last_usable: self.last_usable,
            });
        }
        if !alternate_fits {
            return Err(CopyFault::AlternateLba(self.alternate_lba));
        }
        Ok(())
    }

    /// For a new table of 128 entries: 16 KiB next to each header.
    #[cfg(feature = "std")]
    pub(crate) fn new(disk_guid: Guid, disk: Geometry) -> Self {
        const ENTRY_COUNT: u32 = 128;
        let blocks = disk.blocks_for(u64::from(ENTRY_COUNT) * ENTRY_SIZE as u64);
        let my_lba = CopyPlace::Primary.header_lba(disk);
        Self {
            my_lba,
            alternate_lba: disk.last_lba(),
            first_usable: my_lba + 1 + blocks,
            last_usable: disk.last_lba().saturating_sub(blocks + 1),
            disk_guid,
            entries_lba: my_lba + 1,
            entry_count: ENTRY_COUNT,
            entries_crc: 0,
            size: HEADER_SIZE_MIN as u32,
        }
    }

    /// The blocks of the entry array; empty when they cannot be numbered.
    fn entry_blocks(&self, disk: Geometry) -> Range<u64> {
        let blocks = disk.blocks_for(self.entries_len() as u64);
        let end = self.entries_lba.checked_add(blocks);
        self.entries_lba..end.unwrap_or(self.entries_lba)
    }

    /// Bytes of the entry array.
    pub(crate) const fn entries_len(&self) -> usize {
        self.entry_count as usize * ENTRY_SIZE
    }

    /// Writes the fields into `block`, and a fresh checksum. Bytes after them stay.
    pub(crate) fn store(&self, block: &mut [u8]) {
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(SIGNATURE_AT, SIGNATURE);
        put(REVISION_AT, &REVISION.to_le_bytes());
        put(HEADER_SIZE_AT, &self.size.to_le_bytes());
        put(MY_LBA_AT, &self.my_lba.to_le_bytes());
        put(ALTERNATE_LBA_AT, &self.alternate_lba.to_le_bytes());
        put(FIRST_USABLE_AT, &self.first_usable.to_le_bytes());
        put(LAST_USABLE_AT, &self.last_usable.to_le_bytes());
        put(DISK_GUID_AT, &self.disk_guid.to_bytes());
        put(ENTRIES_LBA_AT, &self.entries_lba.to_le_bytes());
        put(ENTRY_COUNT_AT, &self.entry_count.to_le_bytes());
        put(ENTRY_SIZE_AT, &(ENTRY_SIZE as u32).to_le_bytes());
        put(ENTRIES_CRC_AT, &self.entries_crc.to_le_bytes());
        let crc = header_crc(block, self.size);
        block[HEADER_CRC_AT..RESERVED_AT].copy_from_slice(&crc.to_le_bytes());
    }
}

fn contains(outer: &Range<u64>, inner: Range<u64>) -> bool {
    !inner.is_empty() && outer.start <= inner.start && inner.end <= outer.end
}

/// The header's checksum: over its own size, with the checksum field read as zero.
fn header_crc(block: &[u8], size: u32) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&block[..HEADER_CRC_AT]);
    crc.update(&[0; RESERVED_AT - HEADER_CRC_AT]);
    crc.update(&block[RESERVED_AT..size as usize]);
    crc.finalize()
}

pub(crate) fn bytes<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    core::array::from_fn(|i| block[at + i])
}

pub(crate) fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(block, at))
}

pub(crate) fn u64_at(block: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes(block, at))
}
