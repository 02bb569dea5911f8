//! Reading within the bounds of an image.

use super::Flaw;
use crate::ReadAt;

/// An image, as far as it is a file system.
pub(super) struct Source<'a> {
    pub image: &'a dyn ReadAt,
    pub size: u64,
}

impl Source<'_> {
    pub fn fill(&self, bytes: &mut [u8], at: u64) -> Result<(), Flaw> {
        let end = at.checked_add(bytes.len() as u64).filter(|end| *end <= self.size);
        end.ok_or(Flaw::Damaged)?;
        Ok(self.image.fill_at(bytes, at)?)
    }

    pub fn read<const N: usize>(&self, at: u64) -> Result<[u8; N], Flaw> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, at)?;
        Ok(bytes)
    }
}
