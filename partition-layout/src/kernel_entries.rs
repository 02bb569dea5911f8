//! Which partitions hold the kernels of slots A and B, by what the table alone says.

use alloc::vec::Vec;

use crate::{BootAttributes, BootOrder, Entry, Guid, SlotLetter, Table, boot_decision};

/// Type of a kernel partition: ChromeOS kernel, the type that owns attribute bits 48-56.
pub const KERNEL_TYPE: Guid = Guid::from_fields(
    0xFE3A_2A5D,
    0x4F32,
    0x41A7,
    [0xB7, 0x25, 0xAC, 0xCC, 0x32, 0x85, 0xA3, 0x09],
);

/// The kernel partitions of a disk in the order of their entries, each with its slot.
///
/// A kernel partition is known by [`KERNEL_TYPE`], its slot by the last letter of its name,
/// whatever the rest of the layout is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelEntries(Vec<(SlotLetter, Entry)>);

/// Kernel partitions that cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelEntriesError {
    /// Nothing to start.
    #[error("no kernel partition (type {KERNEL_TYPE}) with a name that ends in A or B")]
    None,
    /// Two partitions claim one slot.
    #[error("kernel partitions {first} and {second} both belong to slot {letter}")]
    Ambiguous {
        /// The slot.
        letter: SlotLetter,
        /// Number of the first entry, from 1.
        first: u32,
        /// Number of the second entry.
        second: u32,
    },
}

impl KernelEntries {
    /// Finds them in the copy that counts.
    ///
    /// # Errors
    /// When there is none, or it is unclear which is whose.
    pub fn find(table: &Table) -> Result<Self, KernelEntriesError> {
        let mut found: Vec<(SlotLetter, Entry)> = Vec::new();
        for entry in table.partitions().filter(|entry| entry.type_guid == KERNEL_TYPE) {
            // A stray partition of the type is no slot, and no reason not to boot.
            let letter = entry.name.chars().next_back().and_then(SlotLetter::from_char);
            let Some(letter) = letter else { continue };
            if let Some((_, earlier)) = found.iter().find(|(taken, _)| *taken == letter) {
                let (first, second) = (earlier.number, entry.number);
                return Err(KernelEntriesError::Ambiguous { letter, first, second });
            }
            found.push((letter, entry));
        }
        if found.is_empty() { Err(KernelEntriesError::None) } else { Ok(Self(found)) }
    }

    /// In the order of the entries: an [`Attempt`](crate::Attempt)'s index counts in this.
    pub fn as_slice(&self) -> &[(SlotLetter, Entry)] {
        &self.0
    }

    /// What starts, and in which order.
    pub fn order(&self) -> BootOrder {
        let attributes: Vec<BootAttributes> =
            self.0.iter().map(|(_, entry)| entry.attributes).collect();
        boot_decision(&attributes)
    }
}
