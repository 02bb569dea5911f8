use super::adjust::Adjuster;
use super::patch::{self, PatchError};
use super::{Method, SOURCE_MAX, STREAMS_MAX};
use crate::format::seekable::{FrameDecoder, FrameError};

/// A segment that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// Its frame is refused.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Its patch is refused.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// Lengths that do not fit each other or the bounds.
    #[error("the lengths of the segment's source and streams do not fit it")]
    Length,
}

/// Makes segments, in [`Room`]s with no memory beyond what it was given when it was made: one zstd
/// context and what moves the numbers of a source.
///
/// What it is given is hostile: a device makes segments in a confined child.
pub struct DeltaDecoder {
    zstd: FrameDecoder,
    adjuster: Adjuster,
}

/// What a segment is made in. A frame becomes the segment, and is in `work`. That of a patch becomes
/// streams there first, and the streams the segment, which then may take the frame's place: so it is
/// in `segment`.
pub struct Room<'a> {
    /// A payload, or the streams of a patch.
    pub work: &'a mut [u8],
    /// The source, in which a patch moves numbers.
    pub source: &'a mut [u8],
    /// The segment, and the payload of a patch before it.
    pub segment: &'a mut [u8],
}

/// Where in a [`Room`] the payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadPlace {
    /// In `work`.
    Work,
    /// In `segment`.
    Segment,
}

impl DeltaDecoder {
    /// A decoder; fails when there is no memory for one.
    pub fn new() -> Result<Self, FrameError> {
        Ok(Self { zstd: FrameDecoder::new()?, adjuster: Adjuster::default() })
    }

    /// Makes the first `segment_len` bytes of the room's segment from `payload_len` bytes from where
    /// [`Method::payload_place`] says, and the whole source.
    pub fn decode_in(
        &mut self,
        room: Room<'_>,
        method: Method,
        payload_len: usize,
        segment_len: usize,
    ) -> Result<(), DeltaError> {
        let Room { work, source, segment } = room;
        if source.len() > SOURCE_MAX {
            return Err(DeltaError::Length);
        }
        match method {
            Method::Zero => first(segment, segment_len)?.fill(0),
            Method::Copy if source.len() != segment_len => return Err(DeltaError::Length),
            Method::Copy => first(segment, segment_len)?.copy_from_slice(source),
            Method::Zstd => {
                self.zstd.decode(first(work, payload_len)?, first(segment, segment_len)?)?;
            }
            Method::Prefix => {
                let (payload, segment) = (first(work, payload_len)?, first(segment, segment_len)?);
                self.zstd.decode_with_prefix(payload, source, segment)?;
            }
            Method::Patch { streams_len } => {
                let streams = first(work, streams_len as usize)?;
                self.zstd.decode(first(segment, payload_len)?, streams)?;
                let segment = first(segment, segment_len)?;
                patch::apply(streams, &mut self.adjuster, source, segment)?;
            }
        }
        Ok(())
    }

    /// As [`decode_in`](Self::decode_in), in a room that is taken for this once.
    pub fn decode(
        &mut self,
        method: Method,
        payload: &[u8],
        source: &mut [u8],
        segment: &mut [u8],
    ) -> Result<(), DeltaError> {
        let streams_len = match method {
            Method::Patch { streams_len } => streams_len as usize,
            _ => 0,
        };
        if streams_len > STREAMS_MAX {
            return Err(DeltaError::Length);
        }
        let mut work = vec![0; streams_len.max(payload.len())];
        let mut made = vec![0; segment.len().max(payload.len())];
        let place = match method.payload_place() {
            PayloadPlace::Work => &mut work,
            PayloadPlace::Segment => &mut made,
        };
        place[..payload.len()].copy_from_slice(payload);
        let room = Room { work: &mut work, source, segment: &mut made };
        self.decode_in(room, method, payload.len(), segment.len())?;
        segment.copy_from_slice(&made[..segment.len()]);
        Ok(())
    }
}

fn first(buffer: &mut [u8], len: usize) -> Result<&mut [u8], DeltaError> {
    buffer.get_mut(..len).ok_or(DeltaError::Length)
}
