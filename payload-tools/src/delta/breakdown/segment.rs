//! What a segment of a delta spends on each of its parts.

use std::ops::Range;

use super::weigher::{divide, weigh};
use super::{BreakdownError, Owners};
use crate::ReadAt;
use crate::delta::repacking::StoredBlocks;
use crate::delta::view::{Unit, View};
use crate::format::delta::{
    Body, DeltaDecoder, DeltaError, Head, Method, Part, Portion, SourceSum, portions,
};
use crate::format::seekable::FrameDecoder;

type Stream = for<'a> fn(&Portion<'a>) -> &'a [u8];

/// In the order in which a patch has them.
const STREAMS: [Stream; 3] =
    [|portion| portion.control, |portion| portion.difference, |portion| portion.fresh];

/// What a segment spends.
pub(super) struct Spent {
    pub parts: Vec<PartSpent>,
    /// Its old content was wanted, and is not at hand.
    pub is_guessed: bool,
}

/// What it spends on bytes of one file, or of none.
pub(super) struct PartSpent {
    pub owner: Option<usize>,
    pub image_bytes: u64,
    pub bytes: u64,
}

/// Reads segments, one at a time.
pub(super) struct SegmentReader<'a> {
    delta: &'a dyn ReadAt,
    head: &'a Head,
    new: &'a dyn ReadAt,
    old: Option<&'a dyn ReadAt>,
    /// The new image, unpacked.
    view: &'a View<'a>,
    /// Packed blocks of the old one, if that is at hand.
    known: &'a StoredBlocks,
    decoder: DeltaDecoder,
    frames: FrameDecoder,
}

impl<'a> SegmentReader<'a> {
    pub fn new(
        delta: &'a dyn ReadAt,
        head: &'a Head,
        (new, old): (&'a dyn ReadAt, Option<&'a dyn ReadAt>),
        (view, known): (&'a View<'a>, &'a StoredBlocks),
    ) -> Result<Self, BreakdownError> {
        let decoder = DeltaDecoder::new().map_err(BreakdownError::Decoder)?;
        let frames = FrameDecoder::new()?;
        Ok(Self { delta, head, new, old, view, known, decoder, frames })
    }

    pub fn read(&mut self, index: u64, owners: &Owners) -> Result<Spent, BreakdownError> {
        let Some(part) = self.head.part(index) else {
            return Ok(Spent { parts: Vec::new(), is_guessed: false });
        };
        let Part { kind, body, segment: range } = &part;
        let bytes = read(self.delta, "delta", body)?;
        let segment = read(self.new, "new image", range)?;
        let parsed = Body::parse(*kind, &bytes, segment.len(), self.head.from_size)
            .map_err(|source| BreakdownError::Body { index, source })?;
        let payload = &bytes[parsed.payload_at..];
        let source = self.source(index, &parsed)?;
        if parsed.sources.is_empty() || source.is_some() {
            let mut source = source.clone().unwrap_or_default();
            let mut made = vec![0; segment.len()];
            self.decoder
                .decode(&parsed, &bytes, &mut source, &mut made)
                .map_err(|source| BreakdownError::Make { index, source })?;
            if made != segment {
                return Err(BreakdownError::OtherNew { index });
            }
        }
        let places = owners.parts(range);
        let ends: Vec<u64> = places.iter().map(|(end, _)| end - range.start).collect();
        let needs_old = matches!(parsed.method, Method::Prefix | Method::Repack { .. });
        let is_guessed = needs_old && source.is_none();
        let weights = match parsed.method {
            Method::Patch { streams_len } => {
                let make = |source| BreakdownError::Make { index, source };
                self.patch_weights(payload, streams_len, &ends).map_err(make)?
            }
            Method::Zstd | Method::Prefix => {
                weigh(&source.unwrap_or_default(), &cut(&segment, &ends))?
            }
            // Blocks are packed anew, so that no byte of the streams is one of the image's.
            Method::Repack { .. } => self.new_lens(range, &ends)?,
            Method::Zero | Method::Copy => lens(&ends),
        };
        let shares = divide(body.end - body.start, &weights);
        let parts = places.iter().zip(lens(&ends)).zip(shares);
        let parts = parts.map(|(((_, owner), image_bytes), bytes)| PartSpent {
            owner: *owner,
            image_bytes,
            bytes,
        });
        Ok(Spent { parts: parts.collect(), is_guessed })
    }

    /// What the segment is made of, if the old image is at hand.
    fn source(&self, index: u64, body: &Body) -> Result<Option<Vec<u8>>, BreakdownError> {
        let Some(old) = self.old.filter(|_| !body.sources.is_empty()) else { return Ok(None) };
        let mut source = Vec::with_capacity(body.source_len());
        for range in &body.sources {
            source.extend(read(old, "old image", range)?);
        }
        match body.sum {
            Some(sum) if sum != SourceSum::of(&source) => Err(BreakdownError::OtherOld { index }),
            _ => Ok(Some(source)),
        }
    }

    /// Bytes of the parts that end there which are not in blocks that the old image has too.
    fn new_lens(&self, range: &Range<u64>, ends: &[u64]) -> Result<Vec<u64>, BreakdownError> {
        let mut lens = vec![0; ends.len()];
        for stored in self.view.units(range).into_iter().flat_map(Unit::blocks) {
            if self.known.may_have(&read(self.new, "new image", &stored)?) {
                continue;
            }
            let mut start = range.start;
            for (len, end) in lens.iter_mut().zip(ends) {
                let end = range.start + end;
                *len += end.min(stored.end).saturating_sub(start.max(stored.start));
                start = end;
            }
        }
        Ok(lens)
    }

    fn patch_weights(
        &mut self,
        payload: &[u8],
        streams_len: u32,
        ends: &[u64],
    ) -> Result<Vec<u64>, DeltaError> {
        // A body was refused if it states more than streams may have.
        let mut streams = vec![0; streams_len as usize];
        self.frames.decode(payload, &mut streams)?;
        let portions = portions(&streams, ends)?;
        let parts: Vec<&[u8]> = STREAMS
            .iter()
            .flat_map(|stream| portions.iter().map(|portion| stream(portion)))
            .collect();
        let weights = weigh(&[], &parts)?;
        let of_part = |part: usize| weights.iter().skip(part).step_by(ends.len()).sum();
        Ok((0..ends.len()).map(of_part).collect())
    }
}

/// The parts of a segment that end there.
fn cut<'a>(segment: &'a [u8], ends: &[u64]) -> Vec<&'a [u8]> {
    let (mut rest, mut start) = (segment, 0);
    let part = |end: &u64| {
        // Ends are in order, and the last is the segment's.
        let (part, after) = rest.split_at((end - start) as usize);
        (rest, start) = (after, *end);
        part
    };
    ends.iter().map(part).collect()
}

/// Bytes of the parts that end there.
fn lens(ends: &[u64]) -> Vec<u64> {
    let mut start = 0;
    ends.iter().map(|end| end - std::mem::replace(&mut start, *end)).collect()
}

fn read(
    from: &dyn ReadAt,
    file: &'static str,
    range: &Range<u64>,
) -> Result<Vec<u8>, BreakdownError> {
    // At most a source or a body.
    let mut bytes = vec![0; (range.end - range.start) as usize];
    from.fill_at(&mut bytes, range.start)
        .map_err(|source| BreakdownError::Read { file, source })?;
    Ok(bytes)
}
