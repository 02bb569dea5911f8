use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::BuildPlan;
use crate::format::seekable::{FrameEncoder, FrameError, Writer, segment_count, segment_range};
use crate::format::{BLOCK, GROUP, SEGMENT};
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

/// Turns one image into its payload and its tree, reading it once.
pub(super) struct Job<'a> {
    pub(super) source: &'a dyn ReadAt,
    /// Bytes of the source; zeroes follow up to the next whole block.
    pub(super) len: u64,
    pub(super) plan: &'a BuildPlan,
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
}

/// A segment as a worker leaves it.
struct Encoded {
    frame: Vec<u8>,
    leaves: Vec<HashBlock>,
}

/// Where workers bring their segments, in the segments' order.
struct Sink<W> {
    next: u64,
    stopped: bool,
    writer: Writer<W>,
    assembler: TreeAssembler,
}

impl Job<'_> {
    /// Writes the payload and returns the tree and the padded size.
    pub(super) fn run(&self, out: impl Write + Send) -> Result<(Tree, u64), EncodeError> {
        let size = self.len.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX);
        let assembler = TreeAssembler::new(&self.plan.salt, size)?;
        let writer = Writer::new(out, size);
        let sink = Mutex::new(Sink { next: 0, stopped: false, writer, assembler });
        let (turn, taken) = (Condvar::new(), AtomicU64::new(0));
        workers::run(self.plan.threads, || {
            let result = self.work(size, &taken, &sink, &turn);
            if result.is_err() {
                // The others wait for a segment that will not come.
                sink.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
                turn.notify_all();
            }
            result
        })?;
        let sink = sink.into_inner().unwrap_or_else(PoisonError::into_inner);
        sink.writer.finish()?;
        Ok((sink.assembler.finish()?, size))
    }

    /// Takes segments until none is left. A worker holds one finished segment at
    /// most while it waits for its turn, which bounds the memory.
    fn work<W: Write>(
        &self,
        size: u64,
        taken: &AtomicU64,
        sink: &Mutex<Sink<W>>,
        turn: &Condvar,
    ) -> Result<(), EncodeError> {
        let compress = |index| move |source| EncodeError::Compress { index, source };
        let mut encoder = FrameEncoder::new(self.plan.level).map_err(compress(0))?;
        let hasher = LeafHasher::new(&self.plan.salt);
        let mut buffer = vec![0; SEGMENT];
        loop {
            let index = taken.fetch_add(1, Ordering::Relaxed);
            if index >= segment_count(size) {
                return Ok(());
            }
            let segment = self.read(size, index, &mut buffer)?;
            let frame = encoder.encode(segment).map_err(compress(index))?;
            let leaves = segment.chunks(GROUP).map(|group| hasher.leaves(group)).collect();
            let sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            let others_turn = |sink: &mut Sink<W>| sink.next != index && !sink.stopped;
            let mut sink =
                turn.wait_while(sink, others_turn).unwrap_or_else(PoisonError::into_inner);
            if sink.stopped {
                return Ok(());
            }
            sink.add(index, &Encoded { frame, leaves })?;
            turn.notify_all();
            (self.progress)(segment.len() as u64);
        }
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

impl<W: Write> Sink<W> {
    fn add(&mut self, index: u64, encoded: &Encoded) -> io::Result<()> {
        self.writer.frame(&encoded.frame)?;
        let first = index * (SEGMENT / GROUP) as u64;
        for (group, leaves) in (first..).zip(&encoded.leaves) {
            self.assembler.add(group, leaves);
        }
        self.next = index + 1;
        Ok(())
    }
}
