use std::io;

use crate::ReadAt;
use crate::format::BLOCK;

/// A file, with zeroes up to the next whole block: what `payload build` makes of it.
#[derive(Debug)]
pub struct Padded {
    file: fs_err::File,
    len: u64,
}

impl Padded {
    /// Reads this file.
    pub fn new(file: fs_err::File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }

    /// Bytes with the zeroes.
    pub fn size(&self) -> u64 {
        self.len.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX)
    }
}

impl ReadAt for Padded {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.size());
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let there = self.len.saturating_sub(offset).min(buf.len() as u64);
        let (bytes, padding) = buf.split_at_mut(there as usize);
        padding.fill(0);
        self.file.fill_at(bytes, offset)
    }
}
