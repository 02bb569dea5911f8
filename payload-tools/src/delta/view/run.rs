//! The blocks of a run, and what they hold.

use std::io;
use std::ops::Range;

use super::Unit;
use crate::ReadAt;
use crate::delta::files::layout::{Block, Run};
use crate::format::delta::codec::{BLOCK_MAX, Codec, Coder};
use crate::format::delta::repack::BlockGroup;

/// A run and where in it each block begins.
#[derive(Debug, Clone)]
pub(super) struct PackedRun {
    pub run: Run,
    /// In the image, counted from the run's start; at last its length.
    pub stored: Vec<u64>,
    /// In its content; at last the length of that.
    pub content: Vec<u64>,
}

impl PackedRun {
    pub fn of(run: Run) -> Self {
        let ends = |len: fn(&Block) -> u32| {
            let mut end = 0u64;
            let mut ends = vec![0];
            ends.extend(run.blocks.iter().map(|block| {
                end += u64::from(len(block));
                end
            }));
            ends
        };
        let (stored, content) = (ends(|block| block.stored), ends(|block| block.content));
        Self { run, stored, content }
    }

    pub fn stored_len(&self) -> u64 {
        self.stored.last().copied().unwrap_or_default()
    }

    pub fn content_len(&self) -> u64 {
        self.content.last().copied().unwrap_or_default()
    }

    /// Where in the image a block lies.
    pub fn stored_at(&self, block: usize) -> Range<u64> {
        self.run.start + self.stored[block]..self.run.start + self.stored[block + 1]
    }

    /// The blocks that hold these bytes of the content, at least one.
    pub fn blocks_with(&self, content: Range<u64>) -> Range<usize> {
        let last = self.run.blocks.len() - 1;
        let first = self.content.partition_point(|end| *end <= content.start).saturating_sub(1);
        let past = self.content.partition_point(|start| *start < content.end);
        let first = first.min(last);
        first..past.clamp(first + 1, last + 1)
    }

    /// The blocks in a range of the image; the view has the content from `content` on.
    pub fn units(&self, range: &Range<u64>, content: u64) -> impl Iterator<Item = Unit> {
        let start = self.run.start;
        let (from, to) = (range.start.saturating_sub(start), range.end - start);
        let first = self.stored.partition_point(|end| *end <= from).saturating_sub(1);
        let past = self.stored.partition_point(|start| *start < to).min(self.run.blocks.len());
        (first..past).map(move |block| Unit::Packed {
            codec: self.run.codec,
            stored: self.stored_at(block),
            content: content + self.content[block]..content + self.content[block + 1],
        })
    }
}

/// Blocks of the same length, counted.
pub(super) fn groups(run: &Run, blocks: Range<usize>) -> Vec<BlockGroup> {
    run.blocks[blocks]
        .chunk_by(|one, next| (one.stored, one.coded) == (next.stored, next.coded))
        .map(|same| BlockGroup {
            blocks: same.len() as u64,
            stored: same[0].stored,
            is_packed: is_decoded(run, &same[0]),
        })
        .collect()
}

/// Whether a decoder has to look at a block. What has a header says there whether it is compressed.
fn is_decoded(run: &Run, block: &Block) -> bool {
    block.coded || matches!(run.codec, Codec::Zstd { headed: true, .. })
}

/// Whether every block of a run holds as much as the file system says.
pub(super) fn holds(run: &Run, image: &dyn ReadAt, coder: &mut Coder) -> io::Result<bool> {
    let mut at = run.start;
    for block in &run.blocks {
        // A device has no room for more. Only LZ4 in large blocks gets there.
        if block.content as usize > BLOCK_MAX {
            return Ok(false);
        }
        let mut stored = vec![0; block.stored as usize];
        image.fill_at(&mut stored, at)?;
        at += u64::from(block.stored);
        if unpack(run, block, &stored, coder).is_none() {
            return Ok(false);
        }
    }
    Ok(!run.blocks.is_empty())
}

/// The content of a block, if it is as long as it should be.
pub(super) fn unpack(
    run: &Run,
    block: &Block,
    stored: &[u8],
    coder: &mut Coder,
) -> Option<Vec<u8>> {
    let mut content = vec![0; block.content as usize];
    if is_decoded(run, block) {
        let len = coder.decode(run.codec, stored, &mut content).ok()?;
        return (len == content.len()).then_some(content);
    }
    let len = content.len().min(stored.len());
    content[..len].copy_from_slice(&stored[..len]);
    (len == content.len()).then_some(content)
}
