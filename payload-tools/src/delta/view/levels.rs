//! At which level the blocks of a file system were made that does not say so.

use std::io;

use super::View;
use crate::format::delta::codec::{Codec, Coder, fix_up};

/// Blocks that are packed again to find out how that was done.
const SAMPLES: usize = 64;
/// Levels of LZ4 in the order in which they are likely.
const LEVELS: [u8; 8] = [9, 0, 8, 7, 6, 5, 4, 3];
/// An encoder that fills a block looks at so much of what comes behind its content.
const LOOK_AHEAD: usize = 64 << 10;

/// A block that is packed again to find out how that was done.
struct Sample {
    /// What is left of the run's content where it begins.
    content: Vec<u8>,
    /// How much of that it holds.
    used: usize,
    stored: Vec<u8>,
}

impl View<'_> {
    /// Finds out how blocks were packed whose file system does not say at which level: the one that
    /// makes the most of some blocks again.
    pub fn settle(&mut self) -> io::Result<()> {
        let mut coder = Coder::new().map_err(io::Error::other)?;
        for codec in self.codecs() {
            let Codec::Lz4 { stored, .. } = codec else { continue };
            let samples = self.samples(codec)?;
            let mut best = (0, codec);
            for level in LEVELS {
                let codec = Codec::Lz4 { level, stored };
                let again = |Sample { content, used, stored }: &&Sample| {
                    fix_up(&mut coder, codec, content, *used, stored) == [0]
                };
                let same = samples.iter().filter(again).count();
                if same > best.0 {
                    best = (same, codec);
                }
            }
            for run in self.runs.iter_mut().filter(|run| run.run.codec == codec) {
                run.run.codec = best.1;
            }
        }
        Ok(())
    }

    /// Some blocks of a codec.
    fn samples(&self, codec: Codec) -> io::Result<Vec<Sample>> {
        let runs = self.runs.iter().enumerate().filter(|(_, run)| run.run.codec == codec);
        let packed = runs.flat_map(|(index, run)| {
            let blocks = run.run.blocks.iter().enumerate();
            blocks.filter(|(_, block)| block.coded).map(move |(block, _)| (index, block))
        });
        let packed: Vec<(usize, usize)> = packed.collect();
        let mut samples = Vec::new();
        for (index, block) in packed.iter().step_by(packed.len() / SAMPLES + 1) {
            let run = &self.runs[*index];
            let range = run.stored_at(*block);
            let mut stored = vec![0; (range.end - range.start) as usize];
            self.image.fill_at(&mut stored, range.start)?;
            let used = run.run.blocks[*block].content as usize;
            let mut content = Vec::new();
            for next in *block..run.run.blocks.len() {
                content.extend_from_slice(&self.block(*index, next)?);
                if content.len() > used + LOOK_AHEAD {
                    break;
                }
            }
            samples.push(Sample { content, used, stored });
        }
        Ok(samples)
    }
}
