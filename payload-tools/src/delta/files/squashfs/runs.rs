//! Runs of blocks that do not overlap, and "Data and Fragment Blocks".

use std::collections::BTreeMap;
use std::ops::Range;

use super::Flaw;
use crate::delta::files::layout::{Block, LaidFile, Lie, Run};

/// What a run takes of memory, and each of its blocks.
pub(super) const RUN_COST: usize = 128;
pub(super) const BLOCK_COST: usize = 16;
/// In the size of a block: its content is not compressed.
const RAW: u32 = 1 << 24;

/// A block, as a file or the fragment table gives its size, with so much content.
pub(super) fn block(size: u32, content: u32) -> Result<Block, Flaw> {
    let (stored, coded) = (size & !RAW, size & RAW == 0);
    if stored == 0 || stored > content {
        return Err(Flaw::Damaged);
    }
    Ok(Block { stored, content, coded })
}

/// The runs that were found.
pub(super) struct Runs {
    /// Where they may lie.
    bounds: Range<u64>,
    found: Vec<Run>,
    /// Where each ends, and its index, by where it begins.
    places: BTreeMap<u64, (u64, usize)>,
}

impl Runs {
    pub fn new(bounds: Range<u64>) -> Self {
        Self { bounds, found: Vec::new(), places: BTreeMap::new() }
    }

    /// The index of a run, which may have been there before: files with the same content share
    /// their blocks. None if it takes bytes of another one.
    pub fn add(&mut self, run: Run) -> Option<usize> {
        let end = run.start.checked_add(run.stored_len())?;
        if run.start < self.bounds.start || end > self.bounds.end {
            return None;
        }
        if let Some((_, (other_end, index))) = self.places.range(..end).next_back()
            && *other_end > run.start
        {
            return (self.found.get(*index) == Some(&run)).then_some(*index);
        }
        let index = self.found.len();
        self.places.insert(run.start, (end, index));
        self.found.push(run);
        Some(index)
    }

    /// The runs in the order in which they lie in the image; files get their new indices.
    pub fn into_order(self, files: &mut [LaidFile]) -> Vec<Run> {
        let mut places = vec![0; self.found.len()];
        for (place, (_, index)) in self.places.values().enumerate() {
            places[*index] = place;
        }
        for piece in files.iter_mut().flat_map(|file| &mut file.pieces) {
            if let Lie::Run { index, .. } = &mut piece.lie {
                *index = places[*index];
            }
        }
        let mut runs = self.found;
        runs.sort_by_key(|run| run.start);
        runs
    }
}
