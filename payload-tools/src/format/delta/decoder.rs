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

/// Makes segments, with no memory beyond what it was given when it was made:
/// one zstd context, the streams of a patch, and what moves the numbers of its source.
///
/// What it is given is hostile: a device makes segments in a confined child.
pub struct DeltaDecoder {
    zstd: FrameDecoder,
    streams: Vec<u8>,
    adjuster: Adjuster,
}

impl DeltaDecoder {
    /// A decoder; fails when there is no memory for one.
    pub fn new() -> Result<Self, FrameError> {
        Ok(Self {
            zstd: FrameDecoder::new()?,
            streams: vec![0; STREAMS_MAX],
            adjuster: Adjuster::default(),
        })
    }

    /// Makes `segment` from the payload of its body and its source, in which a patch
    /// moves numbers first.
    pub fn decode(
        &mut self,
        method: Method,
        payload: &[u8],
        source: &mut [u8],
        segment: &mut [u8],
    ) -> Result<(), DeltaError> {
        if source.len() > SOURCE_MAX {
            return Err(DeltaError::Length);
        }
        match method {
            Method::Zero => segment.fill(0),
            Method::Copy if source.len() != segment.len() => return Err(DeltaError::Length),
            Method::Copy => segment.copy_from_slice(source),
            Method::Zstd => self.zstd.decode(payload, segment)?,
            Method::Prefix => self.zstd.decode_with_prefix(payload, source, segment)?,
            Method::Patch { streams_len } => {
                let streams = self.streams.get_mut(..streams_len as usize);
                let streams = streams.ok_or(DeltaError::Length)?;
                self.zstd.decode(payload, streams)?;
                patch::apply(streams, &mut self.adjuster, source, segment)?;
            }
        }
        Ok(())
    }
}
