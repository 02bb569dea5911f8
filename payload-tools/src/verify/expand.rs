use std::io;
use std::num::NonZero;
#[cfg(feature = "jail")]
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{CompleteImage, Coverage, Incomplete};
#[cfg(feature = "jail")]
use crate::confined::{self, DecodeError, Recipe};
use crate::format::seekable::{FRAME_LEN_MAX, FrameDecoder, FrameError, SeekTable};
use crate::format::{GROUP, SEGMENT};
use crate::tree::{CheckedGroup, GroupMismatch, Levels};
use crate::{ReadAt, workers};

/// A full payload that does not hold its image, or could not be expanded.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// The payload could not be read.
    #[error("cannot read segment {index} of the payload")]
    Read {
        /// Index of the segment.
        index: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A frame cannot be decoded.
    #[error("segment {index} of the payload is refused")]
    Frame {
        /// Index of the segment.
        index: u64,
        /// Why.
        source: NotDecoded,
    },
    /// The machine has no decoder, or no time or memory for one.
    #[error("this machine cannot decode it")]
    Decoder(#[source] NotDecoded),
    /// A frame holds other bytes than the image.
    #[error("segment {index} of the payload holds other bytes than the image")]
    Mismatch {
        /// Index of the segment.
        index: u64,
        /// The group that differs.
        source: GroupMismatch,
    },
    /// Whoever takes the groups failed.
    #[error("cannot write the image at byte {offset}")]
    Write {
        /// Offset in the image.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The payload is of another image.
    #[error("the payload does not hold the whole image")]
    Incomplete(#[from] Incomplete),
}

/// Where payloads are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoding {
    /// In this process: it is locked in by itself, or the payloads are its own.
    Here,
    /// In locked-in processes, one for each thread. The program calls
    /// [`enter_if_asked`](crate::confined::enter_if_asked) first in `main`.
    #[cfg(feature = "jail")]
    Confined,
}

/// Why a frame is not decoded.
#[derive(Debug, thiserror::Error)]
pub enum NotDecoded {
    /// The decoder of this process says so.
    #[error(transparent)]
    Here(#[from] FrameError),
    /// One that is locked in does, or something became of it.
    #[cfg(feature = "jail")]
    #[error(transparent)]
    Confined(#[from] DecodeError),
}

/// SIGKILL: what a machine without memory ends processes by, and a decoder cannot end itself by.
#[cfg(feature = "jail")]
const KILLED: i32 = 9;

impl ExpandError {
    /// Whether the payload is not what it claims to be; otherwise the machine could not do it.
    pub fn is_of_payload(&self) -> bool {
        match self {
            // Of a payload that was cut off too.
            Self::Read { .. } => true,
            Self::Frame { .. } | Self::Mismatch { .. } | Self::Incomplete(_) => true,
            Self::Write { .. } | Self::Decoder(_) => false,
        }
    }
}

impl NotDecoded {
    /// Whether it is the frame's fault, and not the machine's: that has no time for a decoder, no memory,
    /// or no filters.
    fn is_of_frame(&self) -> bool {
        match self {
            Self::Here(_) => true,
            #[cfg(feature = "jail")]
            Self::Confined(error) => match error {
                DecodeError::Refused(_) | DecodeError::Nonsense => true,
                DecodeError::Died(status) => status.signal() != Some(KILLED),
                DecodeError::TimedOut(_) | DecodeError::NotConfined | DecodeError::Run(_) => false,
            },
        }
    }
}

/// What takes the groups of an image, in any order and from several threads.
pub type Accept<'a> = dyn Fn(&CheckedGroup<'_>) -> io::Result<()> + Sync + 'a;

/// Checks the groups of segment `index`, whose bytes `segment` is to be.
pub fn check_segment<'a>(
    levels: &Levels,
    index: u64,
    segment: &'a [u8],
) -> impl Iterator<Item = Result<CheckedGroup<'a>, GroupMismatch>> {
    let first = index.saturating_mul((SEGMENT / GROUP) as u64);
    (first..).zip(segment.chunks(GROUP)).map(|(index, group)| levels.check_group(index, group))
}

/// Decodes a full payload, checks all of it and gives each group to `accept`. Holds a frame and a
/// segment, 8 MiB, per thread, and a decoder that is confined has buffers of as much again.
pub fn expand(
    full: &dyn ReadAt,
    table: &SeekTable,
    levels: &Levels,
    (decoding, threads): (Decoding, NonZero<usize>),
    accept: &Accept<'_>,
) -> Result<CompleteImage, ExpandError> {
    let coverage = Mutex::new(Coverage::new(levels));
    let next = AtomicU64::new(0);
    let frames = usize::try_from(table.frame_count()).ok().and_then(NonZero::new);
    let threads = frames.map_or(threads, |frames| threads.min(frames));
    workers::run(threads, || -> Result<(), ExpandError> {
        let mut buffers = Buffers::new(decoding)?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= table.frame_count() {
                return Ok(());
            }
            let segment = buffers.segment(full, table, index)?;
            for group in check_segment(levels, index, segment) {
                let group = group.map_err(|source| ExpandError::Mismatch { index, source })?;
                let offset = group.offset();
                accept(&group).map_err(|source| ExpandError::Write { offset, source })?;
                coverage.lock().unwrap_or_else(PoisonError::into_inner).add(&group);
            }
        }
    })?;
    let coverage = coverage.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(coverage.finish()?)
}

enum Decoder {
    Here(FrameDecoder),
    #[cfg(feature = "jail")]
    Confined(confined::Decoder),
}

impl Decoder {
    fn new(decoding: Decoding) -> Result<Self, NotDecoded> {
        Ok(match decoding {
            Decoding::Here => Self::Here(FrameDecoder::new()?),
            #[cfg(feature = "jail")]
            Decoding::Confined => Self::Confined(confined::Decoder::start()?),
        })
    }

    fn decode(&mut self, frame: &[u8], segment: &mut [u8]) -> Result<(), NotDecoded> {
        match self {
            Self::Here(decoder) => decoder.decode(frame, segment)?,
            #[cfg(feature = "jail")]
            Self::Confined(decoder) => {
                decoder.put(Recipe::Zstd, 0, frame)?;
                decoder.make(Recipe::Zstd, frame.len(), 0, segment)?;
            }
        }
        Ok(())
    }
}

struct Buffers {
    decoder: Decoder,
    frame: Vec<u8>,
    segment: Vec<u8>,
}

impl Buffers {
    fn new(decoding: Decoding) -> Result<Self, ExpandError> {
        Ok(Self {
            decoder: Decoder::new(decoding).map_err(ExpandError::Decoder)?,
            frame: vec![0; FRAME_LEN_MAX],
            segment: vec![0; SEGMENT],
        })
    }

    fn segment(
        &mut self,
        full: &dyn ReadAt,
        table: &SeekTable,
        index: u64,
    ) -> Result<&[u8], ExpandError> {
        let Some(found) = table.frame(index) else { return Ok(&[]) };
        let frame_len = found.compressed.end - found.compressed.start;
        let segment_len = found.segment.end - found.segment.start;
        let frame = &mut self.frame[..frame_len as usize];
        let segment = &mut self.segment[..segment_len as usize];
        full.fill_at(frame, found.compressed.start)
            .map_err(|source| ExpandError::Read { index, source })?;
        self.decoder.decode(frame, segment).map_err(|source| of_segment(index, source))?;
        Ok(segment)
    }
}

fn of_segment(index: u64, source: NotDecoded) -> ExpandError {
    match source.is_of_frame() {
        true => ExpandError::Frame { index, source },
        false => ExpandError::Decoder(source),
    }
}

#[cfg(all(test, feature = "jail"))]
mod tests;
