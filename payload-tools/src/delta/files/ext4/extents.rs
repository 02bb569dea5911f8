//! Which blocks an inode has: "Extent Tree" in "The Contents of inode.i_block".

use super::Flaw;
use super::volume::{Inode, Volume};
use crate::delta::files::numbers::{u16_at, u32_at};

const MAGIC: u16 = 0xF30A;
/// Bytes of a header, of an index and of an extent.
const ENTRY: usize = 12;
/// Levels below the inode; more are never needed.
const DEPTH_MAX: u16 = 5;
/// Extents that are longer were reserved and never written.
const WRITTEN_MAX: u64 = 32768;

/// Blocks of a file that lie one after the other.
pub(super) struct Extent {
    /// The first one in the file.
    pub first: u64,
    /// The first one in the image.
    pub start: u64,
    pub blocks: u64,
    pub written: bool,
}

/// The extents of an inode, in the file's order.
pub(super) fn extents(volume: &mut Volume<'_>, inode: &Inode) -> Result<Vec<Extent>, Flaw> {
    let mut found = Vec::new();
    let depth = u16_at(&inode.map, 6)?;
    if !inode.has_extents() || depth > DEPTH_MAX {
        return Err(Flaw::Damaged);
    }
    node(volume, &inode.map, depth, &mut found)?;
    Ok(found)
}

/// Adds the extents of a node and of those below it, each one level deeper.
fn node(
    volume: &mut Volume<'_>,
    bytes: &[u8],
    depth: u16,
    found: &mut Vec<Extent>,
) -> Result<(), Flaw> {
    if u16_at(bytes, 0)? != MAGIC || u16_at(bytes, 6)? != depth {
        return Err(Flaw::Damaged);
    }
    let entries = usize::from(u16_at(bytes, 2)?) * ENTRY;
    let entries = bytes.get(ENTRY..).and_then(|rest| rest.get(..entries));
    for entry in entries.ok_or(Flaw::Damaged)?.chunks_exact(ENTRY) {
        match depth.checked_sub(1) {
            Some(below) => {
                let high = u64::from(u16_at(entry, 8)?) << 32;
                let child = volume.block(high | u64::from(u32_at(entry, 4)?))?;
                node(volume, &child, below, found)?;
            }
            None => {
                volume.step()?;
                let extent = Extent::parse(entry)?;
                let end = found.last().map_or(0, |last| last.first + last.blocks);
                if extent.first < end || extent.blocks == 0 {
                    return Err(Flaw::Damaged);
                }
                found.push(extent);
            }
        }
    }
    Ok(())
}

impl Extent {
    fn parse(entry: &[u8]) -> Result<Self, Flaw> {
        let len = u64::from(u16_at(entry, 4)?);
        let written = len <= WRITTEN_MAX;
        let high = u64::from(u16_at(entry, 6)?) << 32;
        Ok(Self {
            first: u32_at(entry, 0)?.into(),
            start: high | u64::from(u32_at(entry, 8)?),
            blocks: if written { len } else { len - WRITTEN_MAX },
            written,
        })
    }
}
