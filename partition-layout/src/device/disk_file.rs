//! Block devices and image files, as whole disks or as parts of one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::{Advice, OFlags};

use super::aligned::{AlignedBuf, is_aligned};
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
    /// the device.
    Direct,
    /// Through the page cache.
    Buffered,
    /// Through the page cache, out of which every write and read is dropped at once: the next
    /// read comes from the medium all the same.
    Dropped,
}

/// A block device or an image file: mostly a whole disk.
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
    /// Nothing is there.
    #[error("there is no disk or image file {path}")]
    Missing {
        /// Where.
        path: std::path::PathBuf,
    },
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
        match Kind::of(path)? {
            Kind::Device => Self::open_device(path, access),
            Kind::Image => {
                let file = open_with(path, access, OFlags::empty())?;
                Self::of_image(file, Transfer::Buffered)
            }
        }
    }

    /// Opens a disk, or a partition's node, for large transfers that leave nothing in the page
    /// cache, of image files too. From and to an [`AlignedBuf`] nothing is copied on the way.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_uncached(path: impl AsRef<Path>, access: Access) -> Result<Self, OpenError> {
        let path = path.as_ref();
        match Kind::of(path)? {
            Kind::Device => Self::open_device(path, access),
            Kind::Image => match open_with(path, access, OFlags::DIRECT) {
                Ok(file) => Self::of_image(file, Transfer::Direct),
                // The file system has no direct transfers.
                Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                    let file = open_with(path, access, OFlags::empty())?;
                    Self::of_image(file, Transfer::Dropped)
                }
                Err(error) => Err(error),
            },
        }
    }

    fn open_device(path: &Path, access: Access) -> Result<Self, OpenError> {
        let claim = if access == Access::Exclusive { OFlags::EXCL } else { OFlags::empty() };
        let file = open_with(path, access, OFlags::DIRECT | claim)?;
        let block_size = rustix::fs::ioctl_blksszget(file.file()).map_err(io::Error::from)?;
        // The metadata of a device say 0.
        let size = io::Seek::seek(&mut file.file(), io::SeekFrom::End(0))?;
        Self::new(file, Transfer::Direct, block_size, size)
    }

    fn of_image(file: File, transfer: Transfer) -> Result<Self, OpenError> {
        let (block_size, size) = (image_block_size(file.path())?, file.metadata()?.len());
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

    /// In chunks through aligned memory, from the block that `offset` lies in on, unless `buf`
    /// and what is asked for are aligned themselves.
    fn read_direct(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let block = u64::from(self.block_size);
        let whole = offset.is_multiple_of(block) && (buf.len() as u64).is_multiple_of(block);
        if whole && is_aligned(buf.as_ptr()) {
            return self.file.file().read_exact_at(buf, offset);
        }
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let start = at - at % block;
            let end = (offset + buf.len() as u64).min(start + CHUNK).next_multiple_of(block);
            let mut bounce = AlignedBuf::zeroed((end - start) as usize);
            self.file.file().read_exact_at(bounce.bytes_mut(), start)?;
            let part = &bounce.bytes()[(at - start) as usize..];
            let len = part.len().min(buf.len() - done);
            buf[done..done + len].copy_from_slice(&part[..len]);
            done += len;
        }
        Ok(())
    }

    /// Makes the next read come from the medium, and keeps the cache small.
    fn drop_cached(&self, offset: u64, len: usize) -> io::Result<()> {
        let len = std::num::NonZero::new(len as u64);
        Ok(rustix::fs::fadvise(self.file.file(), offset, len, Advice::DontNeed)?)
    }

    fn write_direct(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if is_aligned(buf.as_ptr()) {
            return self.file.file().write_all_at(buf, offset);
        }
        for (index, chunk) in (0..).zip(buf.chunks(CHUNK as usize)) {
            let mut bounce = AlignedBuf::zeroed(chunk.len());
            bounce.bytes_mut().copy_from_slice(chunk);
            self.file.file().write_all_at(bounce.bytes(), offset + index * CHUNK)?;
        }
        Ok(())
    }
}

/// What kind of file a disk is.
enum Kind {
    Device,
    Image,
}

impl Kind {
    fn of(path: &Path) -> Result<Self, OpenError> {
        let kind = match fs_err::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::Missing { path: path.to_owned() });
            }
            metadata => metadata?.file_type(),
        };
        if kind.is_block_device() {
            Ok(Self::Device)
        } else if kind.is_file() {
            Ok(Self::Image)
        } else {
            Err(OpenError::NotADisk { path: path.to_owned() })
        }
    }
}

fn open_with(path: &Path, access: Access, flags: OFlags) -> Result<File, OpenError> {
    let mut options = fs_err::OpenOptions::new();
    options.read(true).write(access != Access::ReadOnly);
    options.custom_flags(flags.bits().cast_signed());
    options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => OpenError::InUse { path: path.to_owned() },
        _ => OpenError::Io(error),
    })
}

/// Where the table's signature is, the block size shows.
fn image_block_size(path: &Path) -> io::Result<u32> {
    // Opened anew, because a direct read takes no 8 bytes.
    let file = File::open(path)?;
    for block_size in [512, 4096] {
        let mut signature = [0; 8];
        match file.file().read_exact_at(&mut signature, u64::from(block_size)) {
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
            Transfer::Dropped => {
                self.drop_cached(offset, buf.len())?;
                self.file.file().read_exact_at(buf, offset)?;
                self.drop_cached(offset, buf.len())
            }
        }
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        check_write(self, offset, buf.len())?;
        match self.transfer {
            Transfer::Direct => self.write_direct(offset, buf),
            Transfer::Buffered => self.file.file().write_all_at(buf, offset),
            Transfer::Dropped => {
                self.file.file().write_all_at(buf, offset)?;
                self.file.sync_data()?;
                self.drop_cached(offset, buf.len())
            }
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
    fn uncached_transfers_reach_the_file_from_aligned_memory_and_from_any() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        DiskFile::create(&path, 1 << 20, 4096).unwrap();
        let disk = DiskFile::open_uncached(&path, Access::ReadWrite).unwrap();
        let mut aligned = AlignedBuf::zeroed(8192);
        aligned.bytes_mut().fill(7);
        disk.write_at(4096, aligned.bytes()).unwrap();
        let any = [0; 4097].map(|_: u8| 9);
        disk.write_at(12288, &any[1..]).unwrap();
        disk.flush().unwrap();
        let mut back = AlignedBuf::zeroed(16384);
        disk.read_at(0, back.bytes_mut()).unwrap();
        let expected = [[0; 4096], [7; 4096], [7; 4096], [9; 4096]].concat();
        assert!(back.bytes() == expected);
        assert!(fs_err::read(&path).unwrap()[..16384] == expected);
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let open = |path: &Path| DiskFile::open(path, Access::ReadOnly).unwrap_err();
        assert!(matches!(open(Path::new("/dev/null")), OpenError::NotADisk { .. }));
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(open(folder.path()), OpenError::NotADisk { .. }));
        let missing = folder.path().join("missing");
        let error = open(&missing);
        assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
        assert!(error.to_string().contains("missing"), "{error} names no path");
        let empty = folder.path().join("empty");
        fs_err::write(&empty, "").unwrap();
        assert!(matches!(open(&empty), OpenError::Geometry(_)));
    }
}
