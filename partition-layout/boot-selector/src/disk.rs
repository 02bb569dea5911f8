//! A whole disk over UEFI's Block I/O protocol.

use core::cell::RefCell;

use partition_layout::ReadBlocks;
use uefi::Status;
use uefi::boot::{PAGE_SIZE, ScopedProtocol};
use uefi::proto::media::block::BlockIO;

use crate::pages::Pages;

/// Bytes per transfer. Drivers have limits (1 GiB for virtio, 32 MiB for some USB bridges); at
/// this size the cost of a call has vanished.
const TRANSFER_MAX: usize = 1 << 20;

/// A transfer failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} block {lba}: {status}")]
pub struct DiskError {
    pub operation: Operation,
    pub lba: u64,
    pub status: Status,
}

/// What was done to the disk.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    Read,
    Write,
    Flush,
}

impl core::fmt::Display for Operation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Flush => "flushing behind",
        })
    }
}

/// The disk, with the firmware's cache behind every call.
pub struct Disk {
    block_size: u32,
    block_count: u64,
    media_id: u32,
    // Block I/O wants `&mut` to read; nothing here calls back into the disk.
    blocks: RefCell<ScopedProtocol<BlockIO>>,
}

impl Disk {
    pub fn new(blocks: ScopedProtocol<BlockIO>) -> Self {
        let media = blocks.media();
        Self {
            block_size: media.block_size(),
            block_count: media.last_block().saturating_add(1),
            media_id: media.media_id(),
            blocks: RefCell::new(blocks),
        }
    }

    /// Writes one block, through memory that any driver can take it from.
    pub fn write_block(&self, lba: u64, block: &[u8]) -> Result<(), DiskError> {
        let failed = |error: uefi::Error| error_of(Operation::Write, lba, error);
        let mut pages = Pages::new(block.len()).map_err(failed)?;
        pages.as_mut_slice().copy_from_slice(block);
        let mut blocks = self.blocks.borrow_mut();
        blocks.write_blocks(self.media_id, lba, pages.as_slice()).map_err(failed)
    }

    /// Asks the medium to keep what was written. Many drivers of EDK2 (AHCI, USB, eMMC, SD) do
    /// nothing here, so nothing may rest on it: both states of the primary must be survivable.
    pub fn flush(&self) -> Result<(), DiskError> {
        let mut blocks = self.blocks.borrow_mut();
        blocks.flush_blocks().map_err(|error| error_of(Operation::Flush, 0, error))
    }

    fn read_aligned(&self, lba: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let mut lba = lba;
        for part in buf.chunks_mut(TRANSFER_MAX) {
            let mut blocks = self.blocks.borrow_mut();
            blocks
                .read_blocks(self.media_id, lba, part)
                .map_err(|error| error_of(Operation::Read, lba, error))?;
            lba = lba.saturating_add(part.len() as u64 / u64::from(self.block_size));
        }
        Ok(())
    }
}

impl ReadBlocks for Disk {
    type Error = DiskError;

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn block_count(&self) -> u64 {
        self.block_count
    }

    fn read(&self, lba: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        if buf.as_ptr().align_offset(PAGE_SIZE) == 0 {
            return self.read_aligned(lba, buf);
        }
        let pages = Pages::new(buf.len());
        let mut pages = pages.map_err(|error| error_of(Operation::Read, lba, error))?;
        self.read_aligned(lba, pages.as_mut_slice())?;
        buf.copy_from_slice(pages.as_slice());
        Ok(())
    }
}

fn error_of(operation: Operation, lba: u64, error: uefi::Error) -> DiskError {
    DiskError { operation, lba, status: error.status() }
}
