//! The kernel's first block, the second gate: independent of the slot table,
//! a kernel without it cannot start. It is zeroed before anything changes and
//! written after everything was read back.

use std::io;

use partition_layout::AlignedBuf;
use payload_tools::format::BLOCK;

use super::checked::{CheckedRun, Partition};
use super::read_back::ReadBack;

/// The first block of a checked kernel, kept in memory until its time.
pub(super) struct KernelHead(AlignedBuf);

/// Makes the kernel in `kernel` impossible to start, durably.
pub(super) fn zero(kernel: &Partition<'_>) -> io::Result<()> {
    kernel.device.write_at(kernel.offset, AlignedBuf::zeroed(BLOCK).bytes())?;
    kernel.flush()
}

impl KernelHead {
    /// `None`: the run is not the image's first.
    pub fn of(run: &CheckedRun<'_>) -> Option<Self> {
        let mut block = AlignedBuf::zeroed(BLOCK);
        block.bytes_mut().copy_from_slice(run.head()?);
        Some(KernelHead(block))
    }

    /// Completes what was read back of the first segment: on the medium its
    /// first block is still zero, and must be.
    pub fn complete(&self, segment: &mut [u8]) -> io::Result<()> {
        let on_medium = segment.first_chunk_mut::<BLOCK>().ok_or(io::ErrorKind::UnexpectedEof)?;
        if on_medium.iter().any(|byte| *byte != 0) {
            return Err(io::Error::other(
                "the first block of the kernel is not zero on the medium: someone else writes to it",
            ));
        }
        on_medium.copy_from_slice(self.0.bytes());
        Ok(())
    }

    /// Opens the gate.
    pub fn write(&self, kernel: &Partition<'_>, _: &ReadBack) -> io::Result<()> {
        kernel.device.write_at(kernel.offset, self.0.bytes())?;
        kernel.flush()
    }

    /// Reads the block from the medium and compares.
    pub fn verify(&self, kernel: &Partition<'_>) -> io::Result<()> {
        let mut block = AlignedBuf::zeroed(BLOCK);
        kernel.read(0, block.bytes_mut())?;
        match block.bytes() == self.0.bytes() {
            true => Ok(()),
            false => Err(io::Error::other("it reads back differently than it was written")),
        }
    }
}
