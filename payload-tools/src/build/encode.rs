use std::io::{self, Write};
use std::num::NonZero;

use crate::format::seekable::{FrameEncoder, FrameError, Writer, segment_count, segment_range};
use crate::format::{BLOCK, GROUP, SEGMENT, Salt};
use crate::tree::{self, HashBlock, LeafHasher, ShapeError, Tree, TreeAssembler};
use crate::{ReadAt, workers};

/// An image that could not be turned into a payload.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Image or payload could not be read or written.
    #[error("cannot read the image or write the payload")]
    Io(#[from] io::Error),
    /// zstd failed.
    #[error("cannot compress segment {index}")]
    Compress {
        /// Index of the segment.
        index: u64,
        /// Why.
        source: FrameError,
    },
    /// The image is empty or too large.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The tree was not completed.
    #[error("cannot complete the tree")]
    Tree(#[from] tree::BuildError),
}

/// How images are turned into payloads.
#[derive(Debug, Clone)]
pub struct Encoding {
    /// zstd level, 1 to 22.
    pub level: i32,
    /// Salt of the trees; [`default_salt`](super::default_salt) when there is no reason for another.
    pub salt: Salt,
    /// Threads to compress with.
    pub threads: NonZero<usize>,
}

/// Turns one image into its payload and its tree, reading it once.
pub(super) struct Job<'a> {
    pub(super) source: &'a dyn ReadAt,
    /// Bytes of the source; zeroes follow up to the next whole block.
    pub(super) len: u64,
    pub(super) encoding: &'a Encoding,
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
}

/// What a thread has for itself.
struct Worker {
    encoder: FrameEncoder,
    hasher: LeafHasher,
    buffer: Vec<u8>,
}

/// A segment as a worker leaves it.
struct Encoded {
    frame: Vec<u8>,
    leaves: Vec<HashBlock>,
}

impl Job<'_> {
    /// Writes the payload and returns the tree and the padded size.
    pub(super) fn run(&self, out: impl Write + Send) -> Result<(Tree, u64), EncodeError> {
        let size = self.len.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX);
        let mut assembler = TreeAssembler::new(&self.encoding.salt, size)?;
        let mut writer = Writer::new(out, size);
        let parts = (self.encoding.threads, segment_count(size));
        let make = |worker: &mut Worker, index| self.encode(worker, size, index);
        workers::in_order(
            parts,
            || self.worker(),
            make,
            |index, encoded| {
                writer.frame(&encoded.frame)?;
                let first = index * (SEGMENT / GROUP) as u64;
                for (group, leaves) in (first..).zip(&encoded.leaves) {
                    assembler.add(group, leaves);
                }
                Ok(())
            },
        )?;
        writer.finish()?;
        Ok((assembler.finish()?, size))
    }

    fn worker(&self) -> Result<Worker, EncodeError> {
        let encoder = FrameEncoder::new(self.encoding.level);
        let encoder = encoder.map_err(|source| EncodeError::Compress { index: 0, source })?;
        let hasher = LeafHasher::new(&self.encoding.salt);
        Ok(Worker { encoder, hasher, buffer: vec![0; SEGMENT] })
    }

    fn encode(&self, worker: &mut Worker, size: u64, index: u64) -> Result<Encoded, EncodeError> {
        let segment = self.read(size, index, &mut worker.buffer)?;
        let frame = worker.encoder.encode(segment);
        let frame = frame.map_err(|source| EncodeError::Compress { index, source })?;
        let leaves = segment.chunks(GROUP).map(|group| worker.hasher.leaves(group)).collect();
        (self.progress)(segment.len() as u64);
        Ok(Encoded { frame, leaves })
    }

    fn read<'b>(&self, size: u64, index: u64, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let range = segment_range(size, index);
        let segment = &mut buffer[..(range.end - range.start) as usize];
        let there = range.end.min(self.len) - range.start;
        let (bytes, padding) = segment.split_at_mut(there as usize);
        self.source.fill_at(bytes, range.start)?;
        padding.fill(0);
        Ok(segment)
    }
}
