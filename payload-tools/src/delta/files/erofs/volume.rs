//! The superblock and the inodes.

use std::ops::Range;

use super::Flaw;
use crate::ReadAt;
use crate::delta::files::numbers::{u16_at, u32_at, u64_at};
use crate::format::BLOCK;

/// `struct erofs_super_block`: where it lies, and its length without extensions.
const SUPER: u64 = 1024;
const SUPER_LEN: usize = 128;
const MAGIC: u32 = 0xE0F5_E1E2;
/// `blkszbits` of blocks of 4 KiB.
const BLOCK_BITS: u8 = 12;
/// `sb_extslots` counts these.
const EXTENSION_LEN: u64 = 16;
/// `feature_incompat`: LZ4 lies at the end of its blocks.
const ZERO_PADDING: u32 = 0x1;
/// `feature_incompat`: behind the superblock it says how each algorithm compresses.
const CONFIGS: u32 = 0x2;
/// `feature_incompat`: ends of files lie in a file of their own.
const FRAGMENTS: u32 = 0x20;
/// `feature_incompat`: those before, chunks, devices or a second algorithm, ends of files behind
/// inodes, and prefixes of attributes. Not addresses of 48 bits, and not inodes within a file.
const KNOWN: u32 = 0x7F;
/// `available_compr_algs`.
const LZ4: u16 = 0x1;
/// Blocks that a compressed block takes at most: `Z_EROFS_PCLUSTER_MAX_SIZE`.
const CLUSTER_BLOCKS_MAX: u16 = 256;
/// Inodes are counted in these bytes.
const SLOT: u64 = 32;

/// A file system, as far as its files are concerned.
pub(super) struct Volume<'a> {
    image: &'a dyn ReadAt,
    size: u64,
    /// Where the inode of number 0 lies.
    inodes: u64,
    pub root: u64,
    /// The file in which the ends of others lie.
    pub packed: Option<u64>,
    /// Blocks that a block compressed with LZ4 takes at most, if there are such.
    pub lz4_blocks: Option<u16>,
    /// What may still be taken for something. Each byte of an image belongs to one thing, so that
    /// there are not more of them than bytes, unless the same ones are read again and again.
    bytes_left: u64,
}

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    Directory,
    Other,
}

/// How the content of an inode lies: `EROFS_INODE_*` of `i_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// In blocks.
    Plain,
    /// In compressed blocks, with indexes of 8 bytes.
    Full,
    /// In blocks, but for the last, which lies behind the inode.
    Inline,
    /// In compressed blocks, with packed indexes.
    Compact,
    /// In chunks, each somewhere.
    Chunks,
}

/// An inode, as far as its content is concerned.
pub(super) struct Inode {
    pub kind: Kind,
    pub data: Data,
    pub len: u64,
    /// `i_u`: the first block, or the format of the chunks.
    pub start: u32,
    /// Where it begins in the image.
    pub at: u64,
    /// Where the inode ends in the image, with its attributes.
    pub end: u64,
}

impl<'a> Volume<'a> {
    pub fn open(image: &'a dyn ReadAt, size: u64) -> Result<Self, Flaw> {
        let mut volume = Self {
            image,
            size,
            inodes: 0,
            root: 0,
            packed: None,
            lz4_blocks: None,
            bytes_left: size.saturating_mul(2),
        };
        let bytes: [u8; SUPER_LEN] = volume.read(SUPER)?;
        let features = u32_at(&bytes, 80)?;
        let (devices, folder_block_bits) = (u16_at(&bytes, 86)?, bytes[90]);
        let holds = u32_at(&bytes, 0)? == MAGIC
            && bytes[12] == BLOCK_BITS
            && features & !KNOWN == 0
            && devices == 0
            && folder_block_bits == 0;
        if !holds {
            return Err(Flaw::Damaged);
        }
        volume.inodes = u64::from(u32_at(&bytes, 40)?) * BLOCK as u64;
        volume.root = u16_at(&bytes, 14)?.into();
        let packed = u64_at(&bytes, 96)?;
        volume.packed = (features & FRAGMENTS != 0 && packed != 0).then_some(packed);
        volume.lz4_blocks = match features & (ZERO_PADDING | CONFIGS) {
            ZERO_PADDING => Some(1),
            features if features & ZERO_PADDING != 0 && u16_at(&bytes, 84)? & LZ4 != 0 => {
                Some(volume.lz4_config(SUPER_LEN as u64 + u64::from(bytes[13]) * EXTENSION_LEN)?)
            }
            _ => None,
        };
        Ok(volume)
    }

    /// `struct z_erofs_lz4_cfgs`, the first of them, behind its length.
    fn lz4_config(&self, super_len: u64) -> Result<u16, Flaw> {
        let bytes: [u8; 6] = self.read(SUPER + super_len)?;
        let blocks = u16_at(&bytes, 4)?.max(1);
        if blocks > CLUSTER_BLOCKS_MAX { Err(Flaw::Damaged) } else { Ok(blocks) }
    }

    /// Where blocks lie, that must all be in the image.
    pub fn blocks(&self, first: u64, blocks: u64) -> Result<Range<u64>, Flaw> {
        let start = first.checked_mul(BLOCK as u64).ok_or(Flaw::Damaged)?;
        let len = blocks.checked_mul(BLOCK as u64).ok_or(Flaw::Damaged)?;
        self.range(start, len)
    }

    /// Bytes, that must all be in the image.
    pub fn range(&self, start: u64, len: u64) -> Result<Range<u64>, Flaw> {
        let end = start.checked_add(len).filter(|end| *end <= self.size);
        Ok(start..end.ok_or(Flaw::Damaged)?)
    }

    /// Takes so many bytes of the image for something.
    pub fn spend(&mut self, bytes: u64) -> Result<(), Flaw> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Flaw::Damaged)?;
        Ok(())
    }

    pub fn fill(&self, bytes: &mut [u8], at: u64) -> Result<(), Flaw> {
        self.range(at, bytes.len() as u64)?;
        Ok(self.image.fill_at(bytes, at)?)
    }

    pub fn read<const N: usize>(&self, at: u64) -> Result<[u8; N], Flaw> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, at)?;
        Ok(bytes)
    }

    /// `struct erofs_inode_compact` and `struct erofs_inode_extended`.
    pub fn inode(&self, number: u64) -> Result<Inode, Flaw> {
        let at = number.checked_mul(SLOT).and_then(|at| at.checked_add(self.inodes));
        let at = at.ok_or(Flaw::Damaged)?;
        let bytes: [u8; 32] = self.read(at)?;
        let format = u16_at(&bytes, 0)?;
        let data = match format >> 1 {
            0 => Data::Plain,
            1 => Data::Full,
            2 => Data::Inline,
            3 => Data::Compact,
            4 => Data::Chunks,
            _ => return Err(Flaw::Damaged),
        };
        let is_extended = format & 1 != 0;
        let kind = match u16_at(&bytes, 4)? & 0xF000 {
            0x8000 => Kind::Regular,
            0x4000 => Kind::Directory,
            _ => Kind::Other,
        };
        let len = if is_extended { u64_at(&bytes, 8)? } else { u32_at(&bytes, 8)?.into() };
        // A header of 12 bytes, of which 4 are counted.
        let attributes = match u64::from(u16_at(&bytes, 2)?) {
            0 => 0,
            counted => 8 + counted * 4,
        };
        let inode_len = if is_extended { 64 } else { 32 };
        let end = self.range(at, inode_len + attributes)?.end;
        Ok(Inode { kind, data, len, start: u32_at(&bytes, 16)?, at, end })
    }
}

impl Inode {
    /// Blocks that its content would take, if it were not compressed.
    pub fn blocks(&self) -> u64 {
        self.len.div_ceil(BLOCK as u64)
    }
}
