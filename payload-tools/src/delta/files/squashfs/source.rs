//! Reading within the bounds of an image. All numbers are little-endian.

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

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Flaw> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Flaw> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Flaw> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Flaw> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().ok_or(Flaw::Damaged)
}
