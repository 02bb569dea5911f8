//! Where content lies that is not compressed: "Inode data layouts" and "Chunk-based files".

use super::volume::{Data, Inode, Volume};
use super::{Flaw, LaidPiece, Lie};
use crate::delta::files::numbers::{u16_at, u32_at};
use crate::format::BLOCK;

/// `EROFS_CHUNK_FORMAT_BLKBITS_MASK`: blocks of a chunk, as a power of two.
const CHUNK_BITS: u32 = 0x1F;
/// `EROFS_CHUNK_FORMAT_INDEXES`: with more than the number of the first block.
const CHUNK_INDEXES: u32 = 0x20;
/// The first block of a chunk of zeroes.
const HOLE: u32 = u32::MAX;

/// The pieces of an inode that is not compressed.
pub(super) fn pieces(volume: &mut Volume<'_>, inode: &Inode) -> Result<Vec<LaidPiece>, Flaw> {
    let mut pieces = Vec::new();
    if inode.len == 0 {
        return Ok(pieces);
    }
    match inode.data {
        Data::Plain => {
            let start = volume.blocks(inode.start.into(), inode.blocks())?.start;
            pieces.push(image(0, start, inode.len));
        }
        Data::Inline => {
            let whole = inode.blocks().saturating_sub(1);
            let at = whole * BLOCK as u64;
            if whole > 0 {
                pieces.push(image(0, volume.blocks(inode.start.into(), whole)?.start, at));
            }
            let tail = volume.range(inode.end, inode.len - at)?;
            // It lies in one block.
            if tail.start / BLOCK as u64 != (tail.end - 1) / BLOCK as u64 {
                return Err(Flaw::Damaged);
            }
            pieces.push(LaidPiece { at, lie: Lie::Image(tail) });
        }
        Data::Chunks => chunks(volume, inode, &mut pieces)?,
        Data::Full | Data::Compact => return Err(Flaw::Damaged),
    }
    Ok(pieces)
}

fn image(at: u64, start: u64, len: u64) -> LaidPiece {
    LaidPiece { at, lie: Lie::Image(start..start + len) }
}

/// `struct erofs_inode_chunk_index`, or the last four bytes of it. Chunks of zeroes lie nowhere.
fn chunks(volume: &mut Volume<'_>, inode: &Inode, pieces: &mut Vec<LaidPiece>) -> Result<(), Flaw> {
    let format = inode.start & 0xFFFF;
    if format & !(CHUNK_BITS | CHUNK_INDEXES) != 0 {
        return Err(Flaw::Damaged);
    }
    let chunk_len = (BLOCK as u64) << (format & CHUNK_BITS);
    let index_len = if format & CHUNK_INDEXES == 0 { 4 } else { 8 };
    let mut index_at = inode.end.next_multiple_of(index_len);
    // What is kept of a chunk takes more memory than its index takes bytes.
    let cost = inode.len.div_ceil(chunk_len).checked_mul(64).ok_or(Flaw::Damaged)?;
    volume.spend(cost)?;
    let mut at = 0;
    while at < inode.len {
        let mut index = [0; 8];
        let index = &mut index[..index_len as usize];
        volume.fill(index, index_at)?;
        index_at += index_len;
        let block = if index_len == 4 {
            u32_at(index, 0)?
        } else if u16_at(index, 2)? == 0 {
            u32_at(index, 4)?
        } else {
            return Err(Flaw::Damaged);
        };
        let len = (inode.len - at).min(chunk_len);
        if block != HOLE {
            let start = volume.blocks(block.into(), len.div_ceil(BLOCK as u64))?.start;
            match pieces.last_mut() {
                Some(LaidPiece { at: first, lie: Lie::Image(last) })
                    if last.end == start && *first + (last.end - last.start) == at =>
                {
                    last.end += len;
                }
                _ => pieces.push(image(at, start, len)),
            }
        }
        at += len;
    }
    Ok(())
}
