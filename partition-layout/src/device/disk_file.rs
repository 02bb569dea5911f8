//! Block devices, through direct I/O, and image files, through the page cache.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::OFlags;

use super::aligned::AlignedBuf;
use super::{BlockDevice, TableLock, check_write};
use crate::GeometryError;

/// Bytes per direct transfer: bounds the bounce buffer.
const CHUNK: u64 = 1 << 20;

/// What a disk is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To look at it.
    ReadOnly,
    /// To change it.
    ReadWrite,
    /// To change a disk that nothing else uses: a device is claimed, which fails while it or a
    /// partition of it is mounted, mapped or claimed by somebody else.
    Exclusive,
}

/// How bytes get to the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transfer {
    /// Past the page cache, in whole blocks from aligned memory: what is read back comes from
    /// the device. For block devices.
    Direct,
    /// Through the page cache; not every file system can do better for its files.
    Buffered,
}

/// A block device or an image file, opened as a whole disk.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    transfer: Transfer,
    block_size: u32,
    size: u64,
}

/// A disk that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refused; the message names the path.
    #[error("cannot open the disk")]
    Io(#[from] io::Error),
    /// Something else than a disk.
    #[error("{path} is neither a block device nor a regular file")]
    NotADisk {
        /// What was opened.
        path: std::path::PathBuf,
    },
    /// Somebody else has it.
    #[error("{path} is in use: is it, or a partition of it, mounted or part of another device?")]
    InUse {
        /// What was to be opened.
        path: std::path::PathBuf,
    },
    /// Its blocks are of an unusual size.
    #[error("cannot use the disk")]
    Geometry(#[from] GeometryError),
}

impl DiskFile {
    /// Opens a whole disk. The block size of an image file is that at which its table was made,
    /// 512 where there is none.
    ///
    /// # Errors
    /// When the path cannot be opened so, or is no disk.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let kind = fs_err::metadata(path)?.file_type();
        let transfer = if kind.is_block_device() {
            Transfer::Direct
        } else if kind.is_file() {
            Transfer::Buffered
        } else {
            return Err(OpenError::NotADisk { path: path.to_owned() });
        };
        let mut options = fs_err::OpenOptions::new();
        options.read(true).write(access != Access::ReadOnly);
        if transfer == Transfer::Direct {
            let claim = if access == Access::Exclusive { OFlags::EXCL } else { OFlags::empty() };
            options.custom_flags((OFlags::DIRECT | claim).bits().cast_signed());
        }
        let file = options.open(path).map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => OpenError::InUse { path: path.to_owned() },
            _ => OpenError::Io(error),
        })?;
        let block_size = match transfer {
            Transfer::Direct => {
                rustix::fs::ioctl_blksszget(file.file()).map_err(io::Error::from)?
            }
            Transfer::Buffered => image_block_size(file.file())?,
        };
        // Seeking to the end works for devices too, where the metadata say 0.
        let size = io::Seek::seek(&mut file.file(), io::SeekFrom::End(0))?;
        Self::new(file, transfer, block_size, size)
    }

    /// Makes a sparse image file, or empties an existing one.
    ///
    /// # Errors
    /// When the file cannot be made, or no table fits a disk of this size.
    pub fn create(path: impl AsRef<Path>, size: u64, block_size: u32) -> Result<Self, OpenError> {
        let mut options = fs_err::OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(true).open(path.as_ref())?;
        file.set_len(size)?;
        Self::new(file, Transfer::Buffered, block_size, size)
    }

    fn new(file: File, transfer: Transfer, block_size: u32, size: u64) -> Result<Self, OpenError> {
        let blocks = size.checked_div(u64::from(block_size)).unwrap_or(0);
        crate::Geometry::new(block_size, blocks)?;
        Ok(Self { file, transfer, block_size, size })
    }

    /// The path that was opened, for messages.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// In chunks through aligned memory, from the block that `offset` lies in on.
    fn read_direct(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let block = u64::from(self.block_size);
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let start = at - at % block;
            let end = (offset + buf.len() as u64).min(start + CHUNK).next_multiple_of(block);
            let mut bounce = AlignedBuf::zeroed((end - start) as usize);
            self.file.file().read_exact_at(bounce.as_mut_slice(), start)?;
            let part = &bounce.as_slice()[(at - start) as usize..];
            let len = part.len().min(buf.len() - done);
            buf[done..done + len].copy_from_slice(&part[..len]);
            done += len;
        }
        Ok(())
    }

    fn write_direct(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        for (index, chunk) in (0..).zip(buf.chunks(CHUNK as usize)) {
            let mut bounce = AlignedBuf::zeroed(chunk.len());
            bounce.as_mut_slice().copy_from_slice(chunk);
            self.file.file().write_all_at(bounce.as_slice(), offset + index * CHUNK)?;
        }
        Ok(())
    }
}

/// Where the table's signature is, the block size shows.
fn image_block_size(file: &std::fs::File) -> io::Result<u32> {
    for block_size in [512, 4096] {
        let mut signature = [0; 8];
        match file.read_exact_at(&mut signature, u64::from(block_size)) {
            Ok(()) if &signature == b"EFI PART" => return Ok(block_size),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
    }
    Ok(512)
}

impl BlockDevice for DiskFile {
    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match self.transfer {
            Transfer::Direct => self.read_direct(offset, buf),
            Transfer::Buffered => self.file.file().read_exact_at(buf, offset),
        }
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        check_write(self, offset, buf.len())?;
        match self.transfer {
            Transfer::Direct => self.write_direct(offset, buf),
            Transfer::Buffered => self.file.file().write_all_at(buf, offset),
        }
    }

    /// For a block device this sends the drive's own cache to the medium as well.
    fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// `flock` of the device node, which udev honours too, or of the image file.
    fn lock(&self) -> io::Result<TableLock> {
        let fd: OwnedFd = self.file.file().as_fd().try_clone_to_owned()?;
        TableLock::acquire(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_file_keeps_its_size_and_its_blocks_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        let disk = DiskFile::create(&path, 1 << 20, 4096).unwrap();
        disk.write_at((1 << 20) - 4096, &[7; 4096]).unwrap();
        for (offset, len) in [(1 << 20, 4096), (1, 4096), (0, 512), ((1 << 20) - 4096, 8192)] {
            let error = disk.write_at(offset, &vec![1; len]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{len} at {offset}");
        }
        let mut last = [0; 2];
        assert!(disk.read_at((1 << 20) - 1, &mut last).is_err());
        assert!(disk.read_at(u64::MAX, &mut last).is_err());
        disk.read_at((1 << 20) - 2, &mut last).unwrap();
        assert_eq!((last, fs_err::metadata(&path).unwrap().len()), ([7; 2], 1 << 20));
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let open = |path: &Path| DiskFile::open(path, Access::ReadOnly).unwrap_err();
        assert!(matches!(open(Path::new("/dev/null")), OpenError::NotADisk { .. }));
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(open(folder.path()), OpenError::NotADisk { .. }));
        let missing = folder.path().join("missing");
        let OpenError::Io(error) = open(&missing) else { panic!("opened") };
        assert!(error.to_string().contains("missing"), "{error} names no path");
        let empty = folder.path().join("empty");
        fs_err::write(&empty, "").unwrap();
        assert!(matches!(open(&empty), OpenError::Geometry(_)));
    }
}
