use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Bytes that can be read at any offset, by several threads at once.
pub trait ReadAt: Sync {
    /// Fills `buf` with the bytes from `offset` on; fails when they end before.
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buf, offset)
    }
}

impl ReadAt for fs_err::File {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        fs_err::os::unix::fs::FileExt::read_exact_at(self, buf, offset)
    }
}

impl ReadAt for [u8] {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(buf.len()));
        let bytes = start.zip(end).and_then(|(start, end)| self.get(start..end));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().fill_at(buf, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).fill_at(buf, offset)
    }
}
