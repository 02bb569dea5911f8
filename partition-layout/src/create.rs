//! Partitioning a new disk.

use std::io;

use crate::device::BlockDevice;
use crate::entry::Entry;
use crate::kernel_entries::KERNEL_TYPE;
use crate::layout::{Layout, SlotPart};
use crate::protective_mbr;
use crate::slot_table::{DiscoverError, SlotTable};
use crate::table::EditError;
use crate::{BootAttributes, CopyPlace, Geometry, GeometryError, Guid, SlotLetter, TableCopy};

/// Type of an EFI system partition.
pub const ESP_TYPE: Guid = Guid::from_fields(
    0xC12A_7328,
    0xF81F,
    0x11D2,
    [0xBA, 0x4B, 0x00, 0xA0, 0xC9, 0x3E, 0xC9, 0x3B],
);
/// Type of an x86-64 root partition.
pub const ROOT_TYPE: Guid = Guid::from_fields(
    0x4F68_BCE3,
    0xE8CD,
    0x4DB1,
    [0x96, 0xE7, 0xFB, 0xCA, 0xF9, 0x84, 0xB7, 0x09],
);
/// Type of the verity partition of an x86-64 root.
pub const VERITY_TYPE: Guid = Guid::from_fields(
    0x2C73_57ED,
    0xEBD2,
    0x46D9,
    [0xAE, 0xC1, 0x23, 0xD4, 0x37, 0xEC, 0x2B, 0xF5],
);
/// Type of a partition for variable data.
pub const STATE_TYPE: Guid = Guid::from_fields(
    0x4D21_B016,
    0xB534,
    0x45C2,
    [0xA9, 0xFB, 0x5C, 0x16, 0xE0, 0x91, 0xFD, 0x2D],
);

/// Attribute bit 63: systemd's gpt-auto-generator leaves the partition alone, which might
/// otherwise pair the kernel of one slot with the root of the other.
const NO_AUTO: BootAttributes = BootAttributes::from_bits(1 << 63);

const ALIGNMENT: u64 = 1 << 20;

/// How to partition a disk. The same plan on a disk of the same shape gives the same bytes.
///
/// Sizes are in bytes and are rounded up to whole MiB; what is left becomes STATE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskPlan {
    /// Identity of the disk, from which those of its partitions are derived.
    pub disk_guid: Guid,
    /// What the partitions are called.
    pub layout: Layout,
    /// Size of the EFI system partition.
    pub esp_size: u64,
    /// Size of each kernel partition.
    pub kernel_size: u64,
    /// Size of each root partition.
    pub root_size: u64,
    /// Size of each verity partition, if there are to be any.
    pub verity_size: Option<u64>,
}

/// A disk that could not be partitioned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// No table fits a disk of this shape.
    #[error("cannot partition the disk")]
    Geometry(#[from] GeometryError),
    /// The partitions do not fit.
    #[error("the partitions need {needed} bytes and at least 1 MiB for STATE; the disk has {size}")]
    TooSmall {
        /// What the plan needs, with the least possible STATE.
        needed: u64,
        /// What the disk has.
        size: u64,
    },
    /// The sizes cannot even be added up.
    #[error("the sizes of the partitions are too large to add up")]
    Absurd,
    /// The backup has no place.
    #[error("cannot place the backup table")]
    Backup(#[from] EditError),
    /// The device failed.
    #[error("cannot write the new partition table")]
    Device(#[source] io::Error),
    /// What was written is not what is read.
    #[error("the new partition table reads back wrong: replace the disk?")]
    ReadBack(#[from] DiscoverError),
}

impl DiskPlan {
    /// Bytes that a disk needs for this plan with a STATE of `state_size` bytes.
    ///
    /// # Errors
    /// When the sizes cannot be added up.
    pub fn disk_size(&self, state_size: u64) -> Result<u64, CreateError> {
        // One MiB before the first partition and one after the last hold the copies.
        let edges = [ALIGNMENT, ALIGNMENT, state_size.max(1)];
        let sizes = self.partitions().into_iter().map(|(_, _, _, size)| size).chain(edges);
        sizes
            .map(|size| size.max(1).checked_next_multiple_of(ALIGNMENT))
            .try_fold(0_u64, |sum, size| sum.checked_add(size?))
            .ok_or(CreateError::Absurd)
    }

    /// Name, type, attributes and size of all partitions but STATE, in order.
    fn partitions(&self) -> Vec<(String, Guid, BootAttributes, u64)> {
        let boot = BootAttributes::default();
        let mut parts = vec![(self.layout.esp().to_owned(), ESP_TYPE, boot, self.esp_size)];
        let mut both = |part, type_guid, attributes, size| {
            for letter in SlotLetter::BOTH {
                parts.push((self.layout.name_of(part, letter), type_guid, attributes, size));
            }
        };
        both(SlotPart::Kernel, KERNEL_TYPE, boot, self.kernel_size);
        both(SlotPart::Root, ROOT_TYPE, NO_AUTO, self.root_size);
        if let Some(size) = self.verity_size {
            both(SlotPart::Verity, VERITY_TYPE, NO_AUTO, size);
        }
        parts
    }

    fn entries(&self, disk: Geometry, size: u64) -> Result<Vec<Entry>, CreateError> {
        let needed = self.disk_size(1)?;
        if needed > size {
            return Err(CreateError::TooSmall { needed, size });
        }
        let state_size = ALIGNMENT + (size - needed) / ALIGNMENT * ALIGNMENT;
        let mut parts = self.partitions();
        parts.push((self.layout.state().to_owned(), STATE_TYPE, NO_AUTO, state_size));

        let block = u64::from(disk.block_size());
        let mut start = ALIGNMENT;
        let entry = |(number, (name, type_guid, attributes, size)): (u32, (_, _, _, u64))| {
            let first_lba = start / block;
            start += size.max(1).next_multiple_of(ALIGNMENT);
            let guid = self.disk_guid.derived(number);
            Entry {
                number,
                type_guid,
                guid,
                first_lba,
                last_lba: start / block - 1,
                attributes,
                name,
            }
        };
        Ok((1..).zip(parts).map(entry).collect())
    }
}

/// Writes a new table over whatever the disk holds. Every slot is empty; contents are not
/// touched.
///
/// # Errors
/// When the plan does not fit or the device fails.
pub fn create_disk(device: &dyn BlockDevice, plan: &DiskPlan) -> Result<SlotTable, CreateError> {
    let block = device.block_size();
    let disk = Geometry::new(block, device.size().checked_div(block.into()).unwrap_or(0))?;
    let entries = plan.entries(disk, device.size())?;
    let primary = TableCopy::new(plan.disk_guid, &entries, disk);
    let backup = primary.moved_to(CopyPlace::Backup, disk)?;

    let mut first_block = vec![0; block as usize];
    first_block[..protective_mbr::MBR_SIZE].copy_from_slice(&protective_mbr::for_disk(disk));
    let blocks = [(0, first_block.as_slice())].into_iter();
    for (lba, bytes) in blocks.chain(backup.blocks()).chain(primary.blocks()) {
        let offset = lba * u64::from(block);
        device.write_at(offset, bytes).map_err(CreateError::Device)?;
    }
    device.flush().map_err(CreateError::Device)?;
    Ok(SlotTable::read(device, &plan.layout)?)
}

#[cfg(test)]
mod tests;
