//! The compressed blocks of an inode: "physical clusters", `struct z_erofs_map_header`.

use super::Flaw;
use super::index::{Index, Indexes, Packing};
use super::volume::{Data, Inode, Volume};
use crate::delta::files::numbers::u16_at;
use crate::format::BLOCK;

/// `h_advise`: some indexes take 2 bytes.
const SMALL: u16 = 0x1;
/// `h_advise`: compressed blocks may take several blocks, those that are stored as they are too.
const COUNTED: u16 = 0x6;
/// `h_advise`: the end of the content lies behind the indexes.
const INLINE: u16 = 0x8;
/// `h_advise`: what is stored as it is lies in its block where it lies in its 4 KiB of the file.
const INTERLACED: u16 = 0x10;
/// `h_advise`: the end of the content lies in another file.
const FRAGMENT: u16 = 0x20;
/// What else would change how it is read: there is nothing.
const KNOWN: u16 = SMALL | COUNTED | INLINE | INTERLACED | FRAGMENT;
/// LZ4 has no more content than this for a byte.
const CONTENT_MAX: u64 = 255;

/// A compressed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cluster {
    /// Where its content begins in the file.
    pub at: u64,
    pub content: u32,
    /// Where it begins in the image.
    pub start: u64,
    pub stored: u32,
    pub coded: bool,
}

/// The compressed blocks of an inode, in its order.
pub(super) struct Clusters {
    pub found: Vec<Cluster>,
    /// Where in the image their indexes end.
    pub end: u64,
    /// They have all of the content.
    pub are_whole: bool,
    /// What is stored as it is lies in its block where it lies in its 4 KiB of the file.
    pub are_interlaced: bool,
    /// Blocks that one takes at most.
    pub blocks_max: u16,
}

/// A compressed block whose end is not known yet.
struct Open {
    at: u64,
    block: u64,
    coded: bool,
    count: Option<u16>,
}

struct Reader {
    blocks_max: u16,
    are_counted: bool,
    open: Option<Open>,
    /// Nothing came since the open one.
    is_behind_head: bool,
    /// Indexes so far.
    indexes: u64,
    found: Vec<Cluster>,
}

/// The compressed blocks of an inode whose layout says that it has some.
pub(super) fn clusters(volume: &mut Volume<'_>, inode: &Inode) -> Result<Clusters, Flaw> {
    let blocks_max = volume.lz4_blocks.ok_or(Flaw::Damaged)?;
    let header = inode.end.next_multiple_of(8);
    let bytes: [u8; 8] = volume.read(header)?;
    let advise = u16_at(&bytes, 4)?;
    let (algorithm, bits) = (bytes[6] & 0xF, bytes[7]);
    // Indexes for 4 KiB; not all of the content in another file.
    if algorithm != 0 || bits != 0 || advise & !KNOWN != 0 {
        return Err(Flaw::Damaged);
    }
    let (at, packing) = match inode.data {
        Data::Full if advise & SMALL == 0 => (header + 16, Packing::None),
        Data::Compact if advise & SMALL == 0 => (header + 8, Packing::Large),
        Data::Compact => (header + 8, Packing::Small),
        _ => return Err(Flaw::Damaged),
    };
    let are_counted = advise & COUNTED != 0;
    let indexes = Indexes { at, len: inode.blocks(), packing, are_counted };
    let mut reader = Reader {
        blocks_max,
        are_counted,
        open: None,
        is_behind_head: false,
        indexes: 0,
        found: Vec::new(),
    };
    let end = at.saturating_add(indexes.bytes());
    indexes.each(volume, |volume, index| reader.index(volume, inode.len, index))?;
    let has_end_elsewhere =
        advise & FRAGMENT != 0 || advise & INLINE != 0 && u16_at(&bytes, 2)? != 0;
    if !has_end_elsewhere {
        reader.close(volume, inode.len)?;
    }
    Ok(Clusters {
        found: reader.found,
        end,
        are_whole: !has_end_elsewhere,
        are_interlaced: advise & INTERLACED != 0,
        blocks_max,
    })
}

impl Reader {
    fn index(&mut self, volume: &mut Volume<'_>, len: u64, index: Index) -> Result<(), Flaw> {
        let start = self.indexes * BLOCK as u64;
        self.indexes += 1;
        match index {
            Index::Head { coded, behind, block } => {
                let at = start + u64::from(behind);
                if usize::from(behind) >= BLOCK || at > len || self.open.is_none() && at != 0 {
                    return Err(Flaw::Damaged);
                }
                // The last one only says where the one before ends.
                if at < len {
                    self.close(volume, at)?;
                    self.open = Some(Open { at, block, coded, count: None });
                    self.is_behind_head = true;
                }
            }
            Index::Rest { count } => {
                let open = self.open.as_mut().ok_or(Flaw::Damaged)?;
                // Right behind a head, and only there, its blocks are counted.
                let is_due = self.are_counted && self.is_behind_head;
                if count.is_some() != is_due || count == Some(0) {
                    return Err(Flaw::Damaged);
                }
                open.count = open.count.or(count);
                self.is_behind_head = false;
            }
        }
        Ok(())
    }

    /// Ends the content of the open one, if there is one.
    fn close(&mut self, volume: &mut Volume<'_>, end: u64) -> Result<(), Flaw> {
        let Some(Open { at, block, coded, count }) = self.open.take() else {
            return Ok(());
        };
        let blocks = count.unwrap_or(1);
        let stored = u64::from(blocks) * BLOCK as u64;
        let content = end.checked_sub(at).ok_or(Flaw::Damaged)?;
        let content_max = if coded { stored * CONTENT_MAX } else { stored };
        if blocks > self.blocks_max || content > content_max {
            return Err(Flaw::Damaged);
        }
        let start = volume.blocks(block, blocks.into())?.start;
        volume.spend(stored)?;
        // Of at most 256 blocks.
        let (content, stored) = (content as u32, stored as u32);
        self.found.push(Cluster { at, content, start, stored, coded });
        Ok(())
    }
}
