//! The only bytes that reach the target.

use std::io;
use std::ops::Range;

use partition_layout::BlockDevice;
use payload_tools::format::{BLOCK, GROUP, Role};
use payload_tools::tree::{CheckedGroup, GroupMismatch, Levels};

/// Neighbouring groups of an image, side by side in memory, each of which
/// chains to the signed root.
pub(super) struct CheckedRun<'a> {
    first: u64,
    bytes: &'a [u8],
}

impl<'a> CheckedRun<'a> {
    /// Checks `bytes` as the groups from `first` on.
    pub fn check(levels: &Levels, first: u64, bytes: &'a [u8]) -> Result<Self, GroupMismatch> {
        for (group, data) in (first..).zip(bytes.chunks(GROUP)) {
            let _: CheckedGroup<'_> = levels.check_group(group, data)?;
        }
        Ok(CheckedRun { first, bytes })
    }

    /// Fills `buffer` with the zeroes that the tree says these groups are.
    pub fn zeroes(
        levels: &Levels,
        groups: &Range<u64>,
        buffer: &'a mut [u8],
    ) -> Result<Self, GroupMismatch> {
        let mut len = 0;
        for group in groups.clone() {
            len += match levels.zero_group(group) {
                Some(zeroes) => zeroes.bytes().len(),
                None => {
                    return Err(GroupMismatch::Index {
                        index: group,
                        groups: levels.group_count(),
                    });
                }
            };
        }
        let bytes = &mut buffer[..len];
        bytes.fill(0);
        Ok(CheckedRun { first: groups.start, bytes })
    }

    /// The first block of the image, if this is its first run.
    pub fn head(&self) -> Option<&[u8; BLOCK]> {
        self.bytes.first_chunk().filter(|_| self.first == 0)
    }

    fn offset(&self) -> u64 {
        self.first * GROUP as u64
    }
}

/// One partition of the target slot (or of the booted one, to read from).
#[derive(Clone, Copy)]
pub(super) struct Partition<'d> {
    pub role: Role,
    pub device: &'d (dyn BlockDevice + Sync),
    pub offset: u64,
}

impl Partition<'_> {
    /// Writes checked groups to where they belong. The first block of a kernel
    /// is left out: [`KernelHead`] writes it when its time has come.
    pub fn write(&self, run: &CheckedRun<'_>) -> io::Result<()> {
        let skip = match (self.role, run.first) {
            (Role::Kernel, 0) => BLOCK.min(run.bytes.len()),
            _ => 0,
        };
        match &run.bytes[skip..] {
            [] => Ok(()),
            bytes => self.device.write_at(self.offset + run.offset() + skip as u64, bytes),
        }
    }

    /// Reads the partition from the medium.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device.read_at(self.offset + offset, buf)
    }

    pub fn flush(&self) -> io::Result<()> {
        self.device.flush()
    }
}
