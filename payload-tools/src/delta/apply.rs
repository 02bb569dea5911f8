use std::io;

use crate::ReadAt;
use crate::format::SEGMENT;
use crate::format::delta::{
    BODY_LEN_MAX, Body, BodyError, DeltaDecoder, DeltaError, Head, Part, SOURCE_MAX, SourceSum,
};
use crate::format::seekable::FrameError;

/// A segment that a delta does not make.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The delta or the old image cannot be read.
    #[error("cannot read the delta or the old image")]
    Read(#[from] io::Error),
    /// The body of the segment is refused.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The old image has other bytes than those that the delta was made of.
    #[error("the old image is not the one that the delta was made of")]
    Source,
    /// The segment cannot be made.
    #[error(transparent)]
    Decode(#[from] DeltaError),
    /// There is no memory for a decoder.
    #[error("cannot make a decoder")]
    Decoder(#[source] FrameError),
}

/// Makes every segment and gives it to `accept`, in order. What is made is not
/// checked: the tree of the new image does that.
pub fn apply(
    delta: &dyn ReadAt,
    head: &Head,
    old: &dyn ReadAt,
    accept: &mut dyn FnMut(&Part, &[u8]) -> io::Result<()>,
) -> Result<(), ApplyError> {
    let mut decoder = DeltaDecoder::new().map_err(ApplyError::Decoder)?;
    let mut segment = vec![0; SEGMENT];
    for part in (0..head.segments()).filter_map(|index| head.part(index)) {
        let segment = &mut segment[..(part.segment.end - part.segment.start) as usize];
        make_segment(&mut decoder, delta, head, &part, old, segment)?;
        accept(&part, segment)?;
    }
    Ok(())
}

/// Makes one segment.
pub fn make_segment(
    decoder: &mut DeltaDecoder,
    delta: &dyn ReadAt,
    head: &Head,
    part: &Part,
    old: &dyn ReadAt,
    segment: &mut [u8],
) -> Result<(), ApplyError> {
    let len = part.body.end - part.body.start;
    let mut bytes = vec![0; (len as usize).min(BODY_LEN_MAX)];
    delta.fill_at(&mut bytes, part.body.start)?;
    let body = Body::parse(part.kind, &bytes, segment.len(), head.from_size)?;
    let mut source = vec![0; body.source_len().min(SOURCE_MAX)];
    let mut rest = source.as_mut_slice();
    for range in &body.sources {
        let (piece, after) = rest.split_at_mut((range.end - range.start) as usize);
        old.fill_at(piece, range.start)?;
        rest = after;
    }
    if body.sum.is_some_and(|sum| sum != SourceSum::of(&source)) {
        return Err(ApplyError::Source);
    }
    Ok(decoder.decode(body.method, &bytes[body.payload_at..], &source, segment)?)
}
