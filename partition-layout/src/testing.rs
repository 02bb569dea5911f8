//! Disks for tests: a plan for one, one in memory, and one that records every write, fails on
//! demand, and enumerates what a power cut can leave behind.

mod memory_disk;
mod recording_disk;

pub use memory_disk::MemoryDisk;
pub use recording_disk::{Operation, RecordingDisk};

use crate::create::{DiskPlan, create_disk};
use crate::{Guid, Layout};

const MIB: u64 = 1 << 20;

/// The standard layout without VERITY, for a disk of 32 MiB or more.
pub fn small_plan() -> DiskPlan {
    DiskPlan {
        disk_guid: Guid::from_bytes([7; 16]),
        layout: Layout::standard(),
        esp_size: MIB,
        kernel_size: 4 * MIB,
        root_size: 8 * MIB,
        verity_size: None,
    }
}

/// A disk of 32 MiB in the standard layout with VERITY, both slots empty.
///
/// # Panics
/// Never for blocks of 512 or 4096 bytes.
pub fn sample_disk(block_size: u32) -> MemoryDisk {
    let plan = DiskPlan {
        disk_guid: Guid::from_bytes(*b"one sample disk!"),
        layout: Layout::standard(),
        esp_size: 2 * MIB,
        kernel_size: 3 * MIB,
        root_size: 5 * MIB,
        verity_size: Some(MIB / 2),
    };
    let disk = MemoryDisk::new(32 * MIB, block_size);
    create_disk(&disk, &plan).expect("the sample plan fits");
    disk
}
