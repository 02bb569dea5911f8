//! The superblock, the block groups and the inodes.

use super::Flaw;
use crate::ReadAt;
use crate::delta::files::numbers::{u16_at, u32_at};
use crate::format::BLOCK;

/// "Super Block": where it lies, and its length.
const SUPER: u64 = 1024;
const SUPER_LEN: usize = 1024;
const MAGIC: u16 = 0xEF53;
/// `s_log_block_size` of blocks of 4 KiB.
const LOG_BLOCK_SIZE: u32 = 2;
/// `s_feature_incompat`: descriptors of groups may be longer than 32 bytes.
const SIXTY_FOUR_BIT: u32 = 0x80;
/// `s_feature_incompat` that do not change where files lie: filetype, extents,
/// 64bit, flex_bg, ea_inode, csum_seed, largedir, inline_data, encrypt, casefold.
/// Not a journal that waits to be replayed, and not meta_bg.
const KNOWN: u32 = 0x2 | 0x40 | SIXTY_FOUR_BIT | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x3_8000;
/// "Block Group Descriptors": without the 64bit feature.
const GROUP_LEN_SHORT: u16 = 32;
/// "Inode Size": what every inode has.
const INODE_LEN: usize = 128;
/// `i_flags`: compressed, encrypted, or with its content in the inode.
const OPAQUE: u32 = 0x4 | 0x800 | 0x1000_0000;
/// `i_flags`: its blocks are found by an extent tree.
const EXTENTS: u32 = 0x8_0000;

/// A file system, as far as its files are concerned.
pub(super) struct Volume<'a> {
    image: &'a dyn ReadAt,
    size: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_len: u64,
    group_len: u64,
    /// Extents and blocks of directories and trees that may still be read. Each
    /// takes a block of the image, so there are not more of them than blocks,
    /// unless the same ones are read again and again.
    steps_left: u64,
}

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    Directory,
    Other,
}

/// An inode, as far as its content is concerned.
pub(super) struct Inode {
    pub kind: Kind,
    pub len: u64,
    flags: u32,
    /// `i_block`.
    pub map: [u8; 60],
}

impl<'a> Volume<'a> {
    pub fn open(image: &'a dyn ReadAt, size: u64) -> Result<Self, Flaw> {
        let steps_left = size / BLOCK as u64 * 2;
        let mut volume = Self {
            image,
            size,
            inodes: 0,
            inodes_per_group: 0,
            inode_len: 0,
            group_len: 0,
            steps_left,
        };
        let bytes: [u8; SUPER_LEN] = volume.read(SUPER)?;
        let (dynamic_revision, features) = (u32_at(&bytes, 0x4C)? >= 1, u32_at(&bytes, 0x60)?);
        let inode_len = u16_at(&bytes, 0x58)?;
        let long = features & SIXTY_FOUR_BIT != 0;
        let group_len = if long { u16_at(&bytes, 0xFE)? } else { GROUP_LEN_SHORT };
        volume.inodes = u32_at(&bytes, 0)?;
        volume.inodes_per_group = u32_at(&bytes, 0x28)?;
        volume.inode_len = inode_len.into();
        volume.group_len = group_len.into();
        let holds = u16_at(&bytes, 0x38)? == MAGIC
            && dynamic_revision
            && features & !KNOWN == 0
            && u32_at(&bytes, 0x18)? == LOG_BLOCK_SIZE
            && u32_at(&bytes, 0x14)? == 0
            && (INODE_LEN..=BLOCK).contains(&inode_len.into())
            && group_len >= if long { 64 } else { GROUP_LEN_SHORT };
        if holds { Ok(volume) } else { Err(Flaw::Damaged) }
    }

    /// Whole blocks of the image.
    pub fn blocks(&self) -> u64 {
        self.size / BLOCK as u64
    }

    /// A block that belongs to a directory or a tree.
    pub fn block(&mut self, number: u64) -> Result<[u8; BLOCK], Flaw> {
        self.step()?;
        self.read(number.checked_mul(BLOCK as u64).ok_or(Flaw::Damaged)?)
    }

    pub fn step(&mut self) -> Result<(), Flaw> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Flaw::Damaged)?;
        Ok(())
    }

    /// "Finding an Inode".
    pub fn inode(&self, number: u32) -> Result<Inode, Flaw> {
        let index = number.checked_sub(1).filter(|_| number <= self.inodes);
        let index = index.ok_or(Flaw::Damaged)?;
        let group = index.checked_div(self.inodes_per_group).ok_or(Flaw::Damaged)?;
        let table = self.inode_table(group)?.checked_mul(BLOCK as u64);
        let within = u64::from(index % self.inodes_per_group) * self.inode_len;
        let at = table.and_then(|table| table.checked_add(within)).ok_or(Flaw::Damaged)?;
        Inode::parse(&self.read(at)?)
    }

    /// The block where the inodes of a group begin: `bg_inode_table`. "Layout":
    /// the descriptors follow the superblock's block.
    fn inode_table(&self, group: u32) -> Result<u64, Flaw> {
        // Of 32 bits and of 16 bits.
        let at = BLOCK as u64 + u64::from(group) * self.group_len;
        let short: [u8; GROUP_LEN_SHORT as usize] = self.read(at)?;
        let low = u64::from(u32_at(&short, 0x8)?);
        if self.group_len <= GROUP_LEN_SHORT.into() {
            return Ok(low);
        }
        let high: [u8; 4] = self.read(at + 0x28)?;
        Ok(low | u64::from(u32::from_le_bytes(high)) << 32)
    }

    fn read<const N: usize>(&self, at: u64) -> Result<[u8; N], Flaw> {
        let end = at.checked_add(N as u64).filter(|end| *end <= self.size);
        end.ok_or(Flaw::Damaged)?;
        let mut bytes = [0; N];
        self.image.fill_at(&mut bytes, at)?;
        Ok(bytes)
    }
}

impl Inode {
    /// "Index Nodes".
    fn parse(bytes: &[u8; INODE_LEN]) -> Result<Self, Flaw> {
        let kind = match u16_at(bytes, 0)? & 0xF000 {
            0x8000 => Kind::Regular,
            0x4000 => Kind::Directory,
            _ => Kind::Other,
        };
        let len = u64::from(u32_at(bytes, 0x4)?) | u64::from(u32_at(bytes, 0x6C)?) << 32;
        let map = bytes.get(0x28..).and_then(|rest| rest.first_chunk());
        let map = *map.ok_or(Flaw::Damaged)?;
        Ok(Self { kind, len, flags: u32_at(bytes, 0x20)?, map })
    }

    /// Whether what it holds is not what lies in its blocks.
    pub fn is_opaque(&self) -> bool {
        self.flags & OPAQUE != 0
    }

    pub fn has_extents(&self) -> bool {
        self.flags & EXTENTS != 0
    }
}
