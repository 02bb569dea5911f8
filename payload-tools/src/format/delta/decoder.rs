use super::adjust::Adjuster;
use super::codec::CodecError;
use super::patch::{self, PatchError, Streams};
use super::repack::{RepackError, Repacker};
use super::{Body, Method, SOURCE_MAX, STREAMS_MAX};
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
    /// It cannot be unpacked or packed.
    #[error(transparent)]
    Repack(#[from] RepackError),
    /// There is no memory for a decoder.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Lengths that do not fit each other or the bounds.
    #[error("the lengths of the segment's source and streams do not fit it")]
    Length,
}

/// Makes segments, in [`Room`]s with no memory beyond what it was given when it was made: one zstd
/// context, what moves the numbers of a source, and what unpacks and packs blocks.
///
/// What it is given is hostile: a device makes segments in a confined child.
pub struct DeltaDecoder {
    zstd: FrameDecoder,
    adjuster: Adjuster,
    repacker: Repacker,
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
    pub fn new() -> Result<Self, DeltaError> {
        let (zstd, repacker) = (FrameDecoder::new()?, Repacker::new()?);
        Ok(Self { zstd, adjuster: Adjuster::default(), repacker })
    }

    /// Makes the first `segment_len` bytes of the room's segment from `payload_len` bytes from where
    /// [`Method::payload_place`] says, and the whole source. A repacked segment is only begun by that:
    /// its parts are still to be made, one after another.
    pub fn decode_in(
        &mut self,
        room: Room<'_>,
        method: Method,
        payload_len: usize,
        segment_len: usize,
    ) -> Result<(), DeltaError> {
        let Room { work, source, segment } = room;
        self.repacker.end();
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
                let streams = Streams::parse(streams)?;
                patch::apply(streams, &mut self.adjuster, source, segment)?;
            }
            Method::Repack { streams_len } => {
                let streams = first(work, streams_len as usize)?;
                self.zstd.decode(first(segment, payload_len)?, streams)?;
                self.repacker.begin(streams)?;
            }
        }
        Ok(())
    }

    /// Makes the next part of a repacked segment of `segment_len` bytes that was begun in this room with
    /// so many bytes of streams. The room's source is the part's directory, with the codecs before it
    /// (`directory_len` bytes), and what is stored behind them.
    pub fn part_in(
        &mut self,
        room: Room<'_>,
        (streams_len, directory_len): (usize, usize),
        segment_len: usize,
    ) -> Result<(), DeltaError> {
        let Room { work, source, segment } = room;
        let (streams, segment) = (first(work, streams_len)?, first(segment, segment_len)?);
        let input = (&*source, directory_len);
        Ok(self.repacker.part(&mut self.adjuster, streams, input, segment)?)
    }

    /// Makes the whole segment of a body, which has these bytes, and of its source, in a room that is
    /// taken for this once.
    pub fn decode(
        &mut self,
        body: &Body,
        bytes: &[u8],
        source: &mut [u8],
        segment: &mut [u8],
    ) -> Result<(), DeltaError> {
        let payload = bytes.get(body.payload_at..).ok_or(DeltaError::Length)?;
        let method = body.method;
        let streams_len = match method {
            Method::Patch { streams_len } | Method::Repack { streams_len } => streams_len as usize,
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
        let is_repacked = matches!(method, Method::Repack { .. });
        let whole = if is_repacked { &mut [] } else { &mut *source };
        let room = Room { work: &mut work, source: whole, segment: &mut made };
        self.decode_in(room, method, payload.len(), segment.len())?;
        let mut stored = &*source;
        for part in &body.parts {
            let directory = [&body.codecs, &part.directory].map(|range| bytes.get(range.clone()));
            let [Some(codecs), Some(directory)] = directory else { return Err(DeltaError::Length) };
            let split = stored.split_at_checked(part.stored_len());
            let (of_part, rest) = split.ok_or(DeltaError::Length)?;
            stored = rest;
            let mut input = [codecs, directory, of_part].concat();
            let room = Room { work: &mut work, source: &mut input, segment: &mut made };
            let lens = (streams_len, codecs.len() + directory.len());
            self.part_in(room, lens, segment.len())?;
        }
        if is_repacked && !self.repacker.is_complete() {
            return Err(RepackError::Streams.into());
        }
        segment.copy_from_slice(&made[..segment.len()]);
        Ok(())
    }
}

fn first(buffer: &mut [u8], len: usize) -> Result<&mut [u8], DeltaError> {
    buffer.get_mut(..len).ok_or(DeltaError::Length)
}

#[cfg(test)]
mod tests;
