//! Disks to read from and write to.

mod aligned;
mod disk_file;

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::FlockOperation;

use crate::{ReadBlocks, Table, TableError};

pub use aligned::AlignedBuf;
pub use disk_file::{Access, DiskFile, OpenError};

/// A whole disk: a real one, an image file, or one of [`testing`](crate::testing).
pub trait BlockDevice: Send + Sync {
    /// Bytes per logical block: what the medium writes all or nothing.
    fn block_size(&self) -> u32;

    /// Size of the disk in bytes.
    fn size(&self) -> u64;

    /// Fills `buf` from byte `offset` on.
    ///
    /// # Errors
    /// What the system says, or `UnexpectedEof` beyond the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Writes whole blocks. Durable only after the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// What the system says; `InvalidInput` for partial blocks or beyond the end.
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()>;

    /// Returns once everything written before, by whomever, is on the medium.
    ///
    /// # Errors
    /// What the system says; nothing is then known about the writes since the last flush.
    fn flush(&self) -> io::Result<()>;

    /// Keeps others who honour the lock (this crate, udev) off the table until the answer is
    /// dropped. The default is for devices that nobody else can open.
    ///
    /// # Errors
    /// What the system says.
    fn lock(&self) -> io::Result<TableLock> {
        Ok(TableLock(None))
    }
}

/// The advisory lock on a whole disk, held until dropped.
#[derive(Debug)]
#[must_use = "dropping it releases the lock"]
pub struct TableLock(Option<OwnedFd>);

impl TableLock {
    /// Waits for the `flock` of an open disk. `fd` may be a duplicate.
    pub(crate) fn acquire(fd: OwnedFd) -> io::Result<Self> {
        rustix::fs::flock(&fd, FlockOperation::LockExclusive)?;
        Ok(Self(Some(fd)))
    }
}

impl Drop for TableLock {
    fn drop(&mut self) {
        if let Some(fd) = &self.0 {
            // Nothing to be done about a failure, and closing the disk releases the lock too.
            let _ = rustix::fs::flock(fd, FlockOperation::Unlock);
        }
    }
}

pub(crate) struct Blocks<'a>(pub(crate) &'a dyn BlockDevice);

impl ReadBlocks for Blocks<'_> {
    type Error = io::Error;

    fn block_size(&self) -> u32 {
        self.0.block_size()
    }

    fn block_count(&self) -> u64 {
        self.0.size() / u64::from(self.0.block_size())
    }

    fn read(&self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        let offset = lba.checked_mul(u64::from(self.0.block_size()));
        self.0.read_at(offset.ok_or(io::ErrorKind::InvalidInput)?, buf)
    }
}

impl Table {
    /// [`Table::read`] from a device.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn read_device(device: &dyn BlockDevice) -> Result<Self, TableError> {
        Self::read(&Blocks(device))
    }
}

/// Checks that `len` bytes at `offset` are whole blocks within the disk.
pub(crate) fn check_write(device: &dyn BlockDevice, offset: u64, len: usize) -> io::Result<()> {
    let block = u64::from(device.block_size());
    let end = offset.checked_add(len as u64).filter(|&end| end <= device.size());
    if !offset.is_multiple_of(block) || end.is_none_or(|end| !end.is_multiple_of(block)) {
        let (size, message) = (device.size(), "not whole blocks within the disk");
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{message}: {len} bytes at {offset}, blocks of {block}, {size} in all"),
        ));
    }
    Ok(())
}
