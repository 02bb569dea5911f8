//! Disks for tests: one in memory, and one that records every write, fails on demand, and
//! enumerates what a power cut can leave behind.

mod memory_disk;
mod recording_disk;

pub use memory_disk::MemoryDisk;
pub use recording_disk::{Operation, RecordingDisk};
