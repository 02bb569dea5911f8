//! A partition's node, a whole disk or an image file, opened for large
//! transfers that leave nothing in the page cache.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use fs_err::os::unix::fs::{FileExt, OpenOptionsExt};
use fs_err::{File, OpenOptions};
use partition_layout::BlockDevice;
use rustix::fs::{Advice, OFlags};

/// Buffers and offsets must be aligned to 512 bytes or the medium's logical
/// block: the pipeline's are aligned to 4096.
pub(super) struct SlotFile {
    file: File,
    transfer: Transfer,
    block_size: u32,
    size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    /// O_DIRECT: from our memory to the medium.
    Direct,
    /// The file system has no direct transfers: through the page cache, out of
    /// which every write and read is dropped at once.
    Cached,
}

/// What the node will be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The booted slot.
    Read,
    /// A part of a disk or image file.
    Write,
    /// The whole node is the target: whoever has it mounted or claimed keeps us out.
    WriteWhole,
}

impl SlotFile {
    pub fn open(path: &Path, usage: Use) -> io::Result<Self> {
        let is_device = fs_err::metadata(path)?.file_type().is_block_device();
        let claim = match usage {
            Use::WriteWhole if is_device => OFlags::EXCL,
            _ => OFlags::empty(),
        };
        let open = |flags: OFlags| {
            OpenOptions::new()
                .read(true)
                .write(usage != Use::Read)
                .custom_flags(flags.bits() as i32)
                .open(path)
        };
        let (file, transfer) = match open(claim | OFlags::DIRECT) {
            Ok(file) => (file, Transfer::Direct),
            Err(error) if !is_device && error.raw_os_error() == Some(libc::EINVAL) => {
                (open(claim)?, Transfer::Cached)
            }
            Err(error) => return Err(error),
        };
        let size = rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0))?;
        let block_size = match is_device {
            true => rustix::fs::ioctl_blksszget(&file)?,
            false => 512,
        };
        Ok(SlotFile { file, transfer, block_size, size })
    }

    /// Makes the next read come from the medium, and keeps the cache small.
    fn forget(&self, offset: u64, len: usize) -> io::Result<()> {
        let len = std::num::NonZero::new(len as u64);
        Ok(rustix::fs::fadvise(&self.file, offset, len, Advice::DontNeed)?)
    }
}

impl BlockDevice for SlotFile {
    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.transfer == Transfer::Cached {
            self.forget(offset, buf.len())?;
        }
        self.file.read_exact_at(buf, offset)?;
        match self.transfer {
            Transfer::Direct => Ok(()),
            Transfer::Cached => self.forget(offset, buf.len()),
        }
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.file.write_all_at(buf, offset)?;
        match self.transfer {
            Transfer::Direct => Ok(()),
            Transfer::Cached => {
                rustix::fs::fdatasync(&self.file)?;
                self.forget(offset, buf.len())
            }
        }
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
