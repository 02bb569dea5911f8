//! "Fragment Table": blocks in which the ends of many files lie.

use std::io;
use std::ops::Range;

use super::metadata::Table;
use super::runs::{BLOCK_COST, Runs, block};
use super::source::Source;
use super::superblock::Superblock;
use super::{Flaw, passable};
use crate::delta::files::layout::{Block, Run};
use crate::delta::files::names::Names;
use crate::delta::files::numbers::{u32_at, u64_at};

/// Bytes of an entry of the table.
const ENTRY: usize = 16;
/// The longest head of a frame of zstd, which says how long its content is.
const FRAME_HEAD_MAX: usize = 18;

/// A block of ends of files.
#[derive(Clone)]
pub(super) struct Fragment {
    /// The index of its run.
    pub run: usize,
    /// Where it lies in the content of that run.
    pub content: Range<u64>,
}

/// The fragments, by their number. Adds them to the runs, those that are neighbours as one.
pub(super) fn fragments(
    source: &Source<'_>,
    superblock: &Superblock,
    table: &Table,
    runs: &mut Runs,
    names: &mut Names<u64>,
) -> io::Result<Vec<Option<Fragment>>> {
    let mut found = Vec::new();
    let mut open: Option<(u64, Run)> = None;
    let entries = table.bytes.chunks_exact(ENTRY);
    for entry in entries.take(usize::try_from(superblock.fragments).unwrap_or(usize::MAX)) {
        if names.take(BLOCK_COST + size_of::<Option<Fragment>>()).is_err() {
            break;
        }
        let block = passable(parse(source, superblock, entry))?;
        if let (Some((end, run)), Some((start, block))) = (&mut open, block)
            && *end == start
        {
            *end += u64::from(block.stored);
            run.blocks.push(block);
            continue;
        }
        close(open.take(), runs, &mut found);
        match block {
            Some((start, block)) => {
                let run = Run { codec: superblock.codec(), start, blocks: vec![block] };
                open = Some((start + u64::from(block.stored), run));
            }
            None => found.push(None),
        }
    }
    close(open, runs, &mut found);
    Ok(found)
}

/// Adds the fragments of a run.
fn close(open: Option<(u64, Run)>, runs: &mut Runs, found: &mut Vec<Option<Fragment>>) {
    let Some((_, run)) = open else { return };
    let contents: Vec<u64> = run.blocks.iter().map(|block| block.content.into()).collect();
    let run = runs.add(run);
    let mut at = 0;
    for content in contents {
        let end = at + content;
        found.push(run.map(|run| Fragment { run, content: at..end }));
        at = end;
    }
}

/// Where a fragment begins, and its block. Its length is not in the table; mksquashfs lets
/// zstd state it in the frame.
fn parse(source: &Source<'_>, superblock: &Superblock, entry: &[u8]) -> Result<(u64, Block), Flaw> {
    let (start, size) = (u64_at(entry, 0)?, u32_at(entry, 8)?);
    let mut found = block(size, superblock.block_size)?;
    let end = start.checked_add(found.stored.into()).filter(|end| *end <= source.size);
    end.ok_or(Flaw::Damaged)?;
    found.content = if found.coded {
        let mut head = [0; FRAME_HEAD_MAX];
        let head = &mut head[..FRAME_HEAD_MAX.min(found.stored as usize)];
        source.fill(head, start)?;
        let stated = zstd_safe::get_frame_content_size(head).ok().flatten();
        let stated = stated.and_then(|stated| u32::try_from(stated).ok());
        let stated = stated.filter(|stated| (1..=superblock.block_size).contains(stated));
        stated.ok_or(Flaw::Damaged)?
    } else {
        found.stored
    };
    Ok((start, found))
}
