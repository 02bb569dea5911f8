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
/// one zstd context and the streams of a patch.
///
/// What it is given is hostile: a device makes segments in a confined child.
pub struct DeltaDecoder {
    zstd: FrameDecoder,
    streams: Vec<u8>,
}

impl DeltaDecoder {
    /// A decoder; fails when there is no memory for one.
    pub fn new() -> Result<Self, FrameError> {
        Ok(Self { zstd: FrameDecoder::new()?, streams: vec![0; STREAMS_MAX] })
    }

    /// Makes `segment` from the payload of its body and its source.
    pub fn decode(
        &mut self,
        method: Method,
        payload: &[u8],
        source: &[u8],
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
            Method::Patch { control_len, extra_len } => {
                let (control_len, extra_len) = (control_len as usize, extra_len as usize);
                self.patch(control_len, extra_len, payload, source, segment)?;
            }
        }
        Ok(())
    }

    fn patch(
        &mut self,
        control_len: usize,
        extra_len: usize,
        payload: &[u8],
        source: &[u8],
        segment: &mut [u8],
    ) -> Result<(), DeltaError> {
        let same_len = segment.len().checked_sub(extra_len).ok_or(DeltaError::Length)?;
        let len = control_len.checked_add(segment.len()).ok_or(DeltaError::Length)?;
        let streams = self.streams.get_mut(..len).ok_or(DeltaError::Length)?;
        self.zstd.decode(payload, streams)?;
        let (control, rest) = streams.split_at(control_len);
        let (difference, extra) = rest.split_at(same_len);
        Ok(patch::apply(control, difference, extra, source, segment)?)
    }
}
