//! Numbers of a file system, little-endian.

use super::flaw::Flaw;

pub(in crate::delta::files) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Flaw> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

pub(in crate::delta::files) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Flaw> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

pub(in crate::delta::files) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Flaw> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Flaw> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().ok_or(Flaw::Damaged)
}
