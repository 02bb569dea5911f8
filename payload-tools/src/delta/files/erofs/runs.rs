//! Compressed blocks of all inodes, as runs that share nothing.

use std::ops::Range;

use super::clusters::{Cluster, Clusters};
use super::{Block, Codec, LaidFile, LaidPiece, Layout, Lie, Run};
use crate::format::BLOCK;

/// How blocks are compressed, as long as nobody has looked.
const LEVEL: u8 = 9;

/// Runs as they are found, of which some may lie over others.
#[derive(Default)]
pub(super) struct Runs {
    found: Vec<Run>,
}

impl Runs {
    /// Adds the compressed blocks of an inode. Its pieces, with the indexes of runs as they were
    /// found, are all of it if the blocks are.
    pub fn add(&mut self, clusters: &Clusters) -> Vec<LaidPiece> {
        let stored = u32::from(clusters.blocks_max) * BLOCK as u32;
        let codec = Codec::Lz4 { level: LEVEL, stored };
        let mut pieces = Vec::new();
        // Where the run ends in the image, to which one could be added.
        let mut end = None;
        for cluster in &clusters.found {
            let &Cluster { at, content, start, stored, coded } = cluster;
            if clusters.are_interlaced && !coded && at % BLOCK as u64 != 0 {
                pieces.extend(interlaced(cluster));
                end = None;
                continue;
            }
            let block = Block { stored, content, coded };
            match (self.found.last_mut(), pieces.last_mut()) {
                (Some(run), Some(LaidPiece { lie: Lie::Run { content: lies, .. }, .. }))
                    if end == Some(start) =>
                {
                    run.blocks.push(block);
                    lies.end += u64::from(content);
                }
                _ => {
                    let index = self.found.len();
                    self.found.push(Run { codec, start, blocks: vec![block] });
                    pieces.push(LaidPiece {
                        at,
                        lie: Lie::Run { index, content: 0..content.into() },
                    });
                }
            }
            end = Some(start + u64::from(stored));
        }
        pieces
    }

    /// The runs in the order of the image without those that lie over one before, and the files
    /// without those that need one of these. Of files that say that they lie where a run is, one
    /// does not hold.
    pub fn finish(self, mut files: Vec<LaidFile>, mut records: Vec<LaidFile>) -> Layout {
        let mut order: Vec<usize> = (0..self.found.len()).collect();
        order.sort_by_key(|index| (self.found.get(*index).map(|run| run.start), *index));
        let mut found: Vec<Option<Run>> = self.found.into_iter().map(Some).collect();
        let mut indexes = vec![None; found.len()];
        let mut runs: Vec<Run> = Vec::new();
        let mut end = 0;
        for index in order {
            let Some(run) = found.get_mut(index).and_then(Option::take) else { continue };
            if run.start >= end {
                end = run.start + run.stored_len();
                runs.push(run);
            } else if runs.last() != Some(&run) {
                continue;
            }
            if let Some(place) = indexes.get_mut(index) {
                *place = runs.len().checked_sub(1);
            }
        }
        let mut holds = |file: &mut LaidFile| {
            file.pieces.iter_mut().all(|piece| match &mut piece.lie {
                Lie::Run { index, .. } => match indexes.get(*index).copied().flatten() {
                    Some(kept) => {
                        *index = kept;
                        true
                    }
                    None => false,
                },
                Lie::Image(range) => !is_in_a_run(&runs, range),
            })
        };
        files.retain_mut(&mut holds);
        records.retain_mut(&mut holds);
        Layout { runs, files, records }
    }
}

/// Where content lies that is turned around in its block, so that what comes first is at its place
/// in 4 KiB of the file, and what is behind those is at the beginning.
fn interlaced(cluster: &Cluster) -> impl Iterator<Item = LaidPiece> {
    let &Cluster { at, start, .. } = cluster;
    let content = u64::from(cluster.content);
    let skipped = at % BLOCK as u64;
    let first = (BLOCK as u64 - skipped).min(content);
    let pieces = [(at, start + skipped, first), (at + first, start, content - first)];
    let pieces = pieces.into_iter().filter(|(_, _, len)| *len > 0);
    pieces.map(|(at, start, len)| LaidPiece { at, lie: Lie::Image(start..start + len) })
}

/// Whether one of the runs has bytes of the range.
fn is_in_a_run(runs: &[Run], range: &Range<u64>) -> bool {
    let next = runs.partition_point(|run| run.start < range.end);
    let before = next.checked_sub(1).and_then(|last| runs.get(last));
    before.is_some_and(|run| run.start + run.stored_len() > range.start)
}
