//! The slots of a disk.

use crate::device::BlockDevice;
use crate::kernel_entries::{KernelEntries, KernelEntriesError};
use crate::layout::{Layout, SlotPart};
use crate::{
    BootAttributes, BootOrder, CopyPlace, Entry, Geometry, Guid, SlotLetter, Table, TableError,
    boot_decision,
};

/// A partition, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Position in the table, from 1: the N of /dev/sdaN.
    pub number: u32,
    /// This partition's own identity (PARTUUID).
    pub guid: Guid,
    /// What kind of partition this is.
    pub type_guid: Guid,
    /// Its name in the table (PARTLABEL).
    pub name: String,
    /// Where it begins on the disk, in bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// What boots together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Which of the two.
    pub letter: SlotLetter,
    /// The unified kernel image.
    pub kernel: Partition,
    /// The root file system.
    pub root: Partition,
    /// The dm-verity tree of the root file system, where the disk has one.
    pub verity: Option<Partition>,
    /// The attribute field of the kernel's entry.
    pub attributes: BootAttributes,
}

/// The slots of a disk, read by the one rule: a valid primary wins, else a valid backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotTable {
    /// Identity of the disk.
    pub disk_guid: Guid,
    /// In the order of their kernel entries, as [`boot_decision`] wants them.
    pub slots: [Slot; 2],
    /// The partition that is kept over updates.
    pub state: Option<Partition>,
    /// The EFI system partition.
    pub esp: Option<Partition>,
    /// How the two copies of the table are.
    pub copies: CopiesHealth,
}

/// How one copy of the table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyHealth {
    /// Valid, and what counts.
    Current,
    /// Valid, but says something else than the primary: brought up to date by the next commit.
    Older,
    /// Torn, damaged or missing; says how.
    Invalid(String),
}

/// How both copies of the table are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiesHealth {
    /// The copy at the beginning of the disk.
    pub primary: CopyHealth,
    /// The copy at its end.
    pub backup: CopyHealth,
}

/// A disk without a usable pair of slots.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// The table cannot be used.
    #[error("cannot read the partition table")]
    Table(#[from] TableError),
    /// The boot selector would not know what to start.
    #[error("cannot tell the slots apart")]
    Kernels(#[from] KernelEntriesError),
    /// A partition of the layout is not there.
    #[error("no partition is called {name}: is this the disk, and the layout, that was meant?")]
    Missing {
        /// Its name.
        name: String,
    },
    /// Two partitions have the name.
    #[error("partitions {first} and {second} are both called {name}")]
    Duplicate {
        /// Their name.
        name: String,
        /// Number of the first, from 1.
        first: u32,
        /// Number of the second.
        second: u32,
    },
    /// Layout and boot selector disagree about which partition is a slot's kernel.
    #[error("slot {letter} starts from partition {number}, called {found}, not {expected}")]
    KernelName {
        /// The slot.
        letter: SlotLetter,
        /// Number of the kernel partition, from 1.
        number: u32,
        /// Its name.
        found: String,
        /// The layout's name for it.
        expected: String,
    },
}

/// An image larger than its partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an image of {needed} bytes does not fit {name}, which has {available}")]
pub struct DoesNotFit {
    /// Name of the partition.
    pub name: String,
    /// Size of the image in bytes.
    pub needed: u64,
    /// Size of the partition in bytes.
    pub available: u64,
}

impl Partition {
    fn new(entry: Entry, disk: Geometry) -> Self {
        let block = u64::from(disk.block_size());
        Self {
            number: entry.number,
            guid: entry.guid,
            type_guid: entry.type_guid,
            name: entry.name,
            // The table was checked to lie within a disk whose size in bytes fits 63 bits.
            offset: entry.first_lba * block,
            size: (entry.last_lba - entry.first_lba + 1) * block,
        }
    }

    /// Whether an image of `needed` bytes fits.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_fit(&self, needed: u64) -> Result<(), DoesNotFit> {
        if needed <= self.size {
            return Ok(());
        }
        Err(DoesNotFit { name: self.name.clone(), needed, available: self.size })
    }
}

impl SlotTable {
    /// Reads the slots of a disk.
    ///
    /// # Errors
    /// When there is no usable table, or it does not have both slots of the layout.
    pub fn read(device: &dyn BlockDevice, layout: &Layout) -> Result<Self, DiscoverError> {
        Self::of(&Table::read_device(device)?, layout)
    }

    /// The slots of a table that was read.
    ///
    /// # Errors
    /// When it does not have both slots of the layout.
    pub fn of(table: &Table, layout: &Layout) -> Result<Self, DiscoverError> {
        let disk = table.geometry();
        let mut slots =
            [read_slot(table, layout, SlotLetter::A)?, read_slot(table, layout, SlotLetter::B)?];
        slots.sort_by_key(|slot| slot.kernel.number);
        let optional = |name| find(table, name).map(|e| e.map(|e| Partition::new(e, disk)));
        Ok(Self {
            disk_guid: table.current().header().disk_guid,
            slots,
            state: optional(layout.state())?,
            esp: optional(layout.esp())?,
            copies: CopiesHealth::of(table),
        })
    }

    /// That slot.
    pub fn slot(&self, letter: SlotLetter) -> &Slot {
        let [first, second] = &self.slots;
        if first.letter == letter { first } else { second }
    }

    /// What starts, and in which order; indices count in [`slots`](Self::slots).
    pub fn order(&self) -> BootOrder {
        boot_decision(&[self.slots[0].attributes, self.slots[1].attributes])
    }

    /// The slot that the selector would start.
    pub fn next(&self) -> Option<SlotLetter> {
        self.order().first().map(|attempt| self.slots[attempt.index].letter)
    }

    /// The slot whose kernel partition has this identity.
    pub fn slot_of_kernel(&self, guid: Guid) -> Option<SlotLetter> {
        self.slots.iter().find(|slot| slot.kernel.guid == guid).map(|slot| slot.letter)
    }

    /// The slot whose root partition has this identity.
    pub fn slot_of_root(&self, guid: Guid) -> Option<SlotLetter> {
        self.slots.iter().find(|slot| slot.root.guid == guid).map(|slot| slot.letter)
    }

    /// The slot that partition number `number` belongs to.
    pub fn slot_of_number(&self, number: u32) -> Option<SlotLetter> {
        let owns = |slot: &&Slot| {
            let parts = [Some(&slot.kernel), Some(&slot.root), slot.verity.as_ref()];
            parts.into_iter().flatten().any(|partition| partition.number == number)
        };
        self.slots.iter().find(owns).map(|slot| slot.letter)
    }
}

fn read_slot(table: &Table, layout: &Layout, letter: SlotLetter) -> Result<Slot, DiscoverError> {
    let disk = table.geometry();
    let name = layout.name_of(SlotPart::Kernel, letter);
    // The selector knows no layout, so what it would start must be what the layout says.
    let kernels = KernelEntries::find(table)?;
    let kernel = kernels.as_slice().iter().find(|(owner, _)| *owner == letter);
    let Some((_, kernel)) = kernel.cloned() else {
        return Err(DiscoverError::Missing { name });
    };
    if kernel.name != name {
        let (number, found) = (kernel.number, kernel.name);
        return Err(DiscoverError::KernelName { letter, number, found, expected: name });
    }
    let name = layout.name_of(SlotPart::Root, letter);
    let Some(root) = find(table, &name)? else { return Err(DiscoverError::Missing { name }) };
    let verity = find(table, &layout.name_of(SlotPart::Verity, letter))?;
    Ok(Slot {
        letter,
        attributes: kernel.attributes,
        kernel: Partition::new(kernel, disk),
        root: Partition::new(root, disk),
        verity: verity.map(|entry| Partition::new(entry, disk)),
    })
}

fn find(table: &Table, name: &str) -> Result<Option<Entry>, DiscoverError> {
    let mut named = table.partitions().filter(|entry| entry.name == name);
    match (named.next(), named.next()) {
        (Some(first), Some(second)) => {
            let (first, second) = (first.number, second.number);
            Err(DiscoverError::Duplicate { name: name.to_owned(), first, second })
        }
        (found, _) => Ok(found),
    }
}

impl CopiesHealth {
    /// The health of a table's copies.
    pub fn of(table: &Table) -> Self {
        let health = |place| match table.copy(place) {
            Ok(copy) if copy.says_the_same(table.current()) => CopyHealth::Current,
            Ok(_) => CopyHealth::Older,
            Err(fault) => CopyHealth::Invalid(fault.to_string()),
        };
        Self { primary: health(CopyPlace::Primary), backup: health(CopyPlace::Backup) }
    }

    /// Whether both copies are valid and say the same.
    pub fn agree(&self) -> bool {
        self.primary == CopyHealth::Current && self.backup == CopyHealth::Current
    }
}

#[cfg(test)]
mod tests;
