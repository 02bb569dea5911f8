use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::BundleError;
use crate::ReadAt;

/// One file of a release, to be read in ranges by several threads.
#[derive(Debug, Clone)]
pub struct Part {
    name: String,
    file: Arc<fs_err::File>,
    start: u64,
    len: u64,
}

impl Part {
    pub(super) fn whole(name: &str, file: fs_err::File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self::range(name, Arc::new(file), 0..len))
    }

    pub(super) fn range(name: &str, file: Arc<fs_err::File>, range: Range<u64>) -> Self {
        let (start, len) = (range.start, range.end - range.start);
        Self { name: name.to_owned(), file, start, len }
    }

    /// Its name in the release.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `len` bytes from `offset` on; the caller has bounded `len`.
    pub fn slice(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        self.fill_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// All its bytes, which may be at most `max`.
    pub fn bytes(&self, max: u64) -> Result<Vec<u8>, BundleError> {
        let Self { name, len, .. } = self;
        if *len > max {
            return Err(BundleError::TooLong { part: name.clone(), len: *len, max });
        }
        Ok(self.slice(0, *len)?)
    }
}

impl ReadAt for Part {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.len);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.file.fill_at(buf, self.start + offset)
    }
}
