//! One entry of the partition array (UEFI 2.10, section 5.3.3).

use alloc::string::String;

use crate::header::{bytes, u64_at};
use crate::{BootAttributes, Guid};

/// Bytes per entry.
pub const ENTRY_SIZE: usize = 128;

// Each field begins where the one before it ends.
const TYPE_GUID_AT: usize = 0;
const GUID_AT: usize = TYPE_GUID_AT + 16;
const FIRST_LBA_AT: usize = GUID_AT + 16;
const LAST_LBA_AT: usize = FIRST_LBA_AT + 8;
const ATTRIBUTES_AT: usize = LAST_LBA_AT + 8;
const NAME_AT: usize = ATTRIBUTES_AT + 8;

/// A partition, as its entry describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position in the array, from 1: the N of /dev/sdaN.
    pub number: u32,
    /// What kind of partition this is.
    pub type_guid: Guid,
    /// This partition's own identity (PARTUUID).
    pub guid: Guid,
    /// First block.
    pub first_lba: u64,
    /// Last block, part of the partition.
    pub last_lba: u64,
    /// The attribute field; boot attributes if the type says so.
    pub attributes: BootAttributes,
    /// At most 36 UTF-16 units, up to the first zero; a broken unit reads as U+FFFD.
    pub name: String,
}

impl Entry {
    /// `None` for an unused entry. `bytes` are the 128 of the entry.
    pub(crate) fn parse(number: u32, entry: &[u8]) -> Option<Self> {
        let type_guid = Guid::from_bytes(bytes(entry, TYPE_GUID_AT));
        if type_guid == Guid::ZERO {
            return None;
        }
        let units = entry[NAME_AT..ENTRY_SIZE].chunks_exact(2);
        let units = units.map(|unit| u16::from_le_bytes(bytes(unit, 0))).take_while(|&u| u != 0);
        let name = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        Some(Self {
            number,
            type_guid,
            guid: Guid::from_bytes(bytes(entry, GUID_AT)),
            first_lba: u64_at(entry, FIRST_LBA_AT),
            last_lba: u64_at(entry, LAST_LBA_AT),
            attributes: attributes(entry),
            name: name.collect(),
        })
    }

    #[cfg(feature = "std")]
    pub(crate) fn store(&self, entry: &mut [u8]) {
        let mut put = |at: usize, bytes: &[u8]| entry[at..at + bytes.len()].copy_from_slice(bytes);
        put(TYPE_GUID_AT, &self.type_guid.to_bytes());
        put(GUID_AT, &self.guid.to_bytes());
        put(FIRST_LBA_AT, &self.first_lba.to_le_bytes());
        put(LAST_LBA_AT, &self.last_lba.to_le_bytes());
        put(ATTRIBUTES_AT, &self.attributes.bits().to_le_bytes());
        for (at, unit) in (NAME_AT..ENTRY_SIZE).step_by(2).zip(self.name.encode_utf16()) {
            put(at, &unit.to_le_bytes());
        }
    }
}

pub(crate) fn attributes(entry: &[u8]) -> BootAttributes {
    BootAttributes::from_bits(u64_at(entry, ATTRIBUTES_AT))
}

pub(crate) fn set_attributes(entry: &mut [u8], attributes: BootAttributes) {
    entry[ATTRIBUTES_AT..NAME_AT].copy_from_slice(&attributes.bits().to_le_bytes());
}
