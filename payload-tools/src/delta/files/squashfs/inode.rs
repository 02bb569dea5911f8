//! "Inode Table".

use super::Flaw;
use crate::delta::files::numbers::{u16_at, u32_at, u64_at};

/// In a regular file: its end is in its last block.
const NO_FRAGMENT: u32 = u32::MAX;
/// A directory's length counts the two entries that it does not have.
const NO_NAMES: u32 = 3;

/// An inode, as far as its content is concerned.
pub(super) enum Inode<'a> {
    Directory(Directory),
    Regular(Regular<'a>),
    Other,
}

/// Where the names of a directory are.
pub(super) struct Directory {
    /// A block of the directory table.
    pub block: u32,
    /// Where they begin in its content.
    pub offset: u16,
    /// Their bytes.
    pub len: u32,
}

/// Where the content of a regular file is.
pub(super) struct Regular<'a> {
    /// The first block in the image.
    pub start: u64,
    /// Bytes of the file.
    pub len: u64,
    /// Sizes of its blocks, of four bytes each.
    pub sizes: &'a [u8],
    /// Number of the fragment that has its end, and where it begins there.
    pub fragment: Option<(u32, u32)>,
}

impl<'a> Inode<'a> {
    /// The inode at the start of some bytes of the table.
    pub fn parse(bytes: &'a [u8], block_size: u32) -> Result<Self, Flaw> {
        Ok(match u16_at(bytes, 0)? {
            // "Directory Inodes".
            1 => Self::Directory(Directory {
                block: u32_at(bytes, 16)?,
                offset: u16_at(bytes, 26)?,
                len: u32::from(u16_at(bytes, 24)?).saturating_sub(NO_NAMES),
            }),
            8 => Self::Directory(Directory {
                block: u32_at(bytes, 24)?,
                offset: u16_at(bytes, 34)?,
                len: u32_at(bytes, 20)?.saturating_sub(NO_NAMES),
            }),
            // "File Inodes".
            2 => {
                let (start, len) = (u32_at(bytes, 16)?.into(), u32_at(bytes, 28)?.into());
                let fragment = (u32_at(bytes, 20)?, u32_at(bytes, 24)?);
                Self::Regular(Regular::new(start, len, fragment, bytes.get(32..), block_size)?)
            }
            9 => {
                let (start, len) = (u64_at(bytes, 16)?, u64_at(bytes, 24)?);
                let fragment = (u32_at(bytes, 44)?, u32_at(bytes, 48)?);
                Self::Regular(Regular::new(start, len, fragment, bytes.get(56..), block_size)?)
            }
            _ => Self::Other,
        })
    }
}

impl<'a> Regular<'a> {
    fn new(
        start: u64,
        len: u64,
        fragment: (u32, u32),
        rest: Option<&'a [u8]>,
        block_size: u32,
    ) -> Result<Self, Flaw> {
        let fragment = Some(fragment).filter(|(number, _)| *number != NO_FRAGMENT);
        let whole = len / u64::from(block_size);
        let blocks = if fragment.is_some() { whole } else { len.div_ceil(block_size.into()) };
        let bytes = usize::try_from(blocks).ok().and_then(|blocks| blocks.checked_mul(4));
        let sizes = bytes.and_then(|bytes| rest?.get(..bytes)).ok_or(Flaw::Damaged)?;
        Ok(Self { start, len, sizes, fragment })
    }
}
