//! "The Superblock" and "Compression Options".

use super::Flaw;
use super::source::Source;
use crate::delta::files::numbers::{u16_at, u32_at, u64_at};
use crate::format::delta::codec::Codec;

const LEN: usize = 96;
const MAGIC: [u8; 4] = *b"hsqs";
const VERSION: (u16, u16) = (4, 0);
/// `compressor`.
const ZSTD: u16 = 6;
/// `flags`: the options of the compressor follow the superblock.
const COMPRESSOR_OPTIONS: u16 = 0x400;
/// The header of a block of metadata of four bytes that are not compressed: the
/// options of zstd, which are its level.
const OPTIONS_HEADER: u16 = 0x8004;
const OPTIONS_LEN: usize = 6;
/// What mksquashfs takes where no options say otherwise.
const LEVEL_DEFAULT: u8 = 15;
const LEVEL_MAX: u32 = 22;
/// Logarithms of the smallest and the largest block.
const BLOCK_LOG: std::ops::RangeInclusive<u16> = 12..=20;

/// The superblock, as far as files and blocks are concerned.
pub(super) struct Superblock {
    pub level: u8,
    pub block_size: u32,
    pub bytes_used: u64,
    /// Where blocks may begin at the earliest.
    pub data: u64,
    /// A reference to the root directory's inode.
    pub root: u64,
    pub inodes: u32,
    pub fragments: u32,
    pub ids: u16,
    pub inode_table: u64,
    pub directory_table: u64,
    /// Those that are not there are at 2^64 - 1.
    pub fragment_table: u64,
    pub export_table: u64,
    pub id_table: u64,
    pub xattr_table: u64,
}

impl Superblock {
    pub fn read(source: &Source<'_>) -> Result<Self, Flaw> {
        let bytes: [u8; LEN] = source.read(0)?;
        let (block_size, block_log) = (u32_at(&bytes, 12)?, u16_at(&bytes, 22)?);
        let bytes_used = u64_at(&bytes, 40)?;
        let holds = bytes.starts_with(&MAGIC)
            && (u16_at(&bytes, 28)?, u16_at(&bytes, 30)?) == VERSION
            && u16_at(&bytes, 20)? == ZSTD
            && BLOCK_LOG.contains(&block_log)
            && block_size == 1 << block_log
            && (LEN as u64..=source.size).contains(&bytes_used);
        if !holds {
            return Err(Flaw::Damaged);
        }
        let has_options = u16_at(&bytes, 24)? & COMPRESSOR_OPTIONS != 0;
        Ok(Self {
            level: if has_options { level(source)? } else { LEVEL_DEFAULT },
            block_size,
            bytes_used,
            data: (LEN + if has_options { OPTIONS_LEN } else { 0 }) as u64,
            root: u64_at(&bytes, 32)?,
            inodes: u32_at(&bytes, 4)?,
            fragments: u32_at(&bytes, 16)?,
            ids: u16_at(&bytes, 26)?,
            inode_table: u64_at(&bytes, 64)?,
            directory_table: u64_at(&bytes, 72)?,
            fragment_table: u64_at(&bytes, 80)?,
            export_table: u64_at(&bytes, 88)?,
            id_table: u64_at(&bytes, 48)?,
            xattr_table: u64_at(&bytes, 56)?,
        })
    }

    /// How blocks of files are compressed.
    pub fn codec(&self) -> Codec {
        Codec::Zstd { level: self.level, content: self.block_size, headed: false }
    }
}

/// "ZSTD" in "Compression Options".
fn level(source: &Source<'_>) -> Result<u8, Flaw> {
    let bytes: [u8; OPTIONS_LEN] = source.read(LEN as u64)?;
    let level = u32_at(&bytes, 2)?;
    if u16_at(&bytes, 0)? != OPTIONS_HEADER || !(1..=LEVEL_MAX).contains(&level) {
        return Err(Flaw::Damaged);
    }
    u8::try_from(level).map_err(|_| Flaw::Damaged)
}
