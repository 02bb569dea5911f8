//! "Packing Metadata": blocks of up to 8 KiB behind a header of two bytes each.

use std::io;
use std::ops::Range;

use zstd::bulk::Decompressor;

use super::source::Source;
use super::{Flaw, passable};
use crate::delta::files::layout::{Block, Run};
use crate::format::delta::codec::Codec;

/// Bytes of the content of a block; only the last one of a table has fewer.
const CONTENT: usize = 8192;
const HEADER: usize = 2;
/// In the header: the content is not compressed.
const RAW: u16 = 0x8000;
/// Blocks that are read at most, 512 MiB of content: inodes and names of some four
/// million files. Bytes of an image may decode to hundreds of times as many.
const BLOCKS_MAX: u32 = 1 << 16;

/// The contents of blocks that lie one behind the other.
#[derive(Default)]
pub(super) struct Table {
    /// Where each block begins, seen from the first one, and where its content does.
    starts: Vec<(u64, usize)>,
    pub bytes: Vec<u8>,
}

impl Table {
    /// What is there from a place on, which is a block and an offset in its content.
    pub fn at(&self, block: u64, offset: u16) -> Result<&[u8], Flaw> {
        let found = self.starts.binary_search_by_key(&block, |(start, _)| *start);
        let start = found.ok().and_then(|index| self.starts.get(index));
        let (_, content) = start.ok_or(Flaw::Damaged)?;
        self.bytes.get(content + usize::from(offset)..).ok_or(Flaw::Damaged)
    }
}

/// Reads tables.
pub(super) struct Metadata<'a> {
    source: &'a Source<'a>,
    level: u8,
    decoder: Decompressor<'static>,
    blocks_left: u32,
    stored: Vec<u8>,
    content: Vec<u8>,
}

impl<'a> Metadata<'a> {
    pub fn new(source: &'a Source<'a>, level: u8) -> io::Result<Self> {
        Ok(Self {
            source,
            level,
            decoder: Decompressor::new()?,
            blocks_left: BLOCKS_MAX,
            stored: vec![0; CONTENT],
            content: vec![0; CONTENT],
        })
    }

    /// The blocks that begin at the start of a range and lie in it, up to the first one that does
    /// not hold.
    pub fn chain(&mut self, range: Range<u64>) -> io::Result<(Table, Vec<Run>)> {
        let codec = Codec::Zstd { level: self.level, content: CONTENT as u32, headed: true };
        let (mut table, mut runs) = (Table::default(), Vec::<Run>::new());
        let mut at = range.start;
        let mut is_whole = false;
        while at < range.end
            && let Some(block) = passable(self.block(at, range.end))?
        {
            // Only the last block of a run is shorter.
            match runs.last_mut().filter(|_| is_whole) {
                Some(run) => run.blocks.push(block),
                None => runs.push(Run { codec, start: at, blocks: vec![block] }),
            }
            is_whole = block.content as usize == CONTENT;
            table.starts.push((at - range.start, table.bytes.len()));
            table.bytes.extend_from_slice(&self.content[..block.content as usize]);
            at += u64::from(block.stored);
        }
        Ok((table, runs))
    }

    /// Reads a block, whose content is behind that in `self.content`.
    fn block(&mut self, at: u64, end: u64) -> Result<Block, Flaw> {
        self.blocks_left = self.blocks_left.checked_sub(1).ok_or(Flaw::Damaged)?;
        let header = u16::from_le_bytes(self.source.read(at)?);
        let (len, coded) = (usize::from(header & !RAW), header & RAW == 0);
        let stored = HEADER + len;
        if len == 0 || len > CONTENT || end - at < stored as u64 {
            return Err(Flaw::Damaged);
        }
        let bytes = &mut self.stored[..len];
        self.source.fill(bytes, at + HEADER as u64)?;
        let content = if coded {
            let decoded = self.decoder.decompress_to_buffer(bytes, &mut self.content[..]);
            decoded.ok().filter(|len| *len > 0).ok_or(Flaw::Damaged)?
        } else {
            self.content[..len].copy_from_slice(bytes);
            len
        };
        // Both are of 15 bits.
        Ok(Block { stored: stored as u32, content: content as u32, coded })
    }
}
