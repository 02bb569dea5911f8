//! The smallest body that makes a segment.

use std::io;
use std::ops::Range;

use super::DeltaPlan;
use super::index::Index;
use super::matcher::{Matcher, Streams};
use super::sources;
use crate::ReadAt;
use crate::format::delta::{
    BODY_LEN_MAX, Body, CONTROL_MAX, DeltaDecoder, Kind, Method, SourceSum, encode_steps,
};
use crate::format::seekable::{FrameEncoder, FrameError};

/// The level at which kinds are compared before the best is compressed well.
const TRIAL_LEVEL: i32 = 4;
/// A kind that comes so near the best in the trial is compressed well too.
const NEAR_PERCENT: usize = 10;
/// A copy that takes no more bytes than this is not bettered.
const CHEAP_COPY: usize = 128;

/// A segment's kind and body.
#[derive(Debug)]
pub(super) struct Made {
    pub kind: Kind,
    pub body: Vec<u8>,
}

/// Makes the segments of a delta, one at a time.
pub(super) struct SegmentMaker<'a> {
    old: &'a dyn ReadAt,
    index: &'a Index,
    plan: &'a DeltaPlan,
    trial: FrameEncoder,
    final_: FrameEncoder,
    decoder: DeltaDecoder,
}

/// A way to make a segment that is still to be compressed.
enum Way<'a> {
    Plain,
    Prefix(&'a Source),
    Patch(&'a Source, Patch),
}

/// Ranges of the old image and their bytes.
struct Source {
    ranges: Vec<Range<u64>>,
    bytes: Vec<u8>,
    sum: SourceSum,
}

/// A patch's streams, one after another.
struct Patch {
    method: Method,
    streams: Vec<u8>,
}

impl<'a> SegmentMaker<'a> {
    pub fn new(
        old: &'a dyn ReadAt,
        index: &'a Index,
        plan: &'a DeltaPlan,
    ) -> Result<Self, FrameError> {
        Ok(Self {
            old,
            index,
            plan,
            trial: FrameEncoder::new(TRIAL_LEVEL)?,
            final_: FrameEncoder::new(plan.level)?,
            decoder: DeltaDecoder::new()?,
        })
    }

    pub fn make(&mut self, segment: &[u8]) -> io::Result<Made> {
        if segment.iter().all(|byte| *byte == 0) {
            return Ok(Made { kind: Kind::Zero, body: Vec::new() });
        }
        let copy = self.copy(segment)?;
        if let Some(copy) = copy.as_ref().filter(|copy| copy.len() <= CHEAP_COPY) {
            return Ok(Made { kind: Kind::Copy, body: copy.clone() });
        }
        let source = self.source(segment)?;
        let made = self.compressed(segment, source.as_ref())?;
        match copy {
            Some(body) if body.len() <= made.body.len() => Ok(Made { kind: Kind::Copy, body }),
            _ => Ok(made),
        }
    }

    /// The body of a copy, if the old image has every block of the segment.
    fn copy(&self, segment: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(ranges) = sources::same_blocks(segment, self.index) else { return Ok(None) };
        let source = Source::read(self.old, ranges)?;
        let copy = || Body::encode(&source.ranges, Some(source.sum), Method::Copy, &[]);
        Ok((source.bytes == segment).then(copy))
    }

    fn source(&self, segment: &[u8]) -> io::Result<Option<Source>> {
        match sources::alike(segment, self.index, self.plan.old.size) {
            ranges if ranges.is_empty() => Ok(None),
            ranges => Source::read(self.old, ranges).map(Some),
        }
    }

    /// Tries each way quickly, and the best ones well.
    fn compressed(&mut self, segment: &[u8], source: Option<&Source>) -> io::Result<Made> {
        let mut ways = vec![Way::Plain];
        if let Some(source) = source {
            ways.push(Way::Prefix(source));
            ways.extend(Patch::of(&source.bytes, segment).map(|patch| Way::Patch(source, patch)));
        }
        let mut tried = Vec::new();
        for way in ways {
            let len = self.body(&way, segment, Effort::Trial)?.len();
            tried.push((len, way));
        }
        tried.sort_by_key(|(len, _)| *len);
        let least = tried.first().map_or(0, |(len, _)| *len);
        let near = least + least * NEAR_PERCENT / 100;
        let mut best: Option<Made> = None;
        for (len, way) in &tried {
            // One that is not given back makes room for the next.
            if *len > near && best.is_some() {
                break;
            }
            let body = self.body(way, segment, Effort::Final)?;
            let smaller = best.as_ref().is_none_or(|best| body.len() < best.body.len());
            if smaller && self.makes(way, &body, segment) {
                best = Some(Made { kind: way.method().kind(), body });
            }
        }
        best.ok_or_else(|| io::Error::other("zstd does not give a segment back"))
    }

    fn body(&mut self, way: &Way<'_>, segment: &[u8], effort: Effort) -> io::Result<Vec<u8>> {
        let (encoder, level) = match effort {
            Effort::Trial => (&mut self.trial, TRIAL_LEVEL),
            Effort::Final => (&mut self.final_, self.plan.level),
        };
        let payload = match way {
            Way::Plain => encoder.encode(segment),
            Way::Prefix(source) => FrameEncoder::encode_with_prefix(level, &source.bytes, segment),
            Way::Patch(_, patch) => encoder.encode(&patch.streams),
        };
        let payload = payload.map_err(io::Error::other)?;
        Ok(match way {
            Way::Plain => payload,
            Way::Prefix(source) | Way::Patch(source, _) => {
                Body::encode(&source.ranges, Some(source.sum), way.method(), &payload)
            }
        })
    }

    /// Whether a device would make the segment of this body: nothing else is written.
    fn makes(&mut self, way: &Way<'_>, body: &[u8], segment: &[u8]) -> bool {
        let parsed = Body::parse(way.method().kind(), body, segment.len(), self.plan.old.size);
        let (Ok(parsed), true) = (parsed, body.len() <= BODY_LEN_MAX) else { return false };
        let source = way.source().map_or(&[][..], |source| &source.bytes);
        let mut made = vec![0; segment.len()];
        let payload = &body[parsed.payload_at..];
        self.decoder.decode(parsed.method, payload, source, &mut made).is_ok() && made == segment
    }
}

#[derive(Debug, Clone, Copy)]
enum Effort {
    Trial,
    Final,
}

impl Way<'_> {
    fn method(&self) -> Method {
        match self {
            Way::Plain => Method::Zstd,
            Way::Prefix(_) => Method::Prefix,
            Way::Patch(_, patch) => patch.method,
        }
    }

    fn source(&self) -> Option<&Source> {
        match self {
            Way::Plain => None,
            Way::Prefix(source) | Way::Patch(source, _) => Some(source),
        }
    }
}

impl Source {
    fn read(old: &dyn ReadAt, ranges: Vec<Range<u64>>) -> io::Result<Self> {
        let mut bytes = Vec::new();
        for range in &ranges {
            let at = bytes.len();
            bytes.resize(at + (range.end - range.start) as usize, 0);
            old.fill_at(&mut bytes[at..], range.start)?;
        }
        let sum = SourceSum::of(&bytes);
        Ok(Self { ranges, bytes, sum })
    }
}

impl Patch {
    /// A patch of the source; `None` if it is more steps than a device takes.
    fn of(source: &[u8], segment: &[u8]) -> Option<Self> {
        let pieces = Matcher::new(source).steps(segment);
        let found = Streams::of(source, segment, &pieces);
        let mut streams = encode_steps(&found.steps);
        if streams.len() > CONTROL_MAX {
            return None;
        }
        let control_len = streams.len() as u32;
        let extra_len = found.extra.len() as u32;
        streams.extend(found.difference);
        streams.extend(found.extra);
        Some(Self { method: Method::Patch { control_len, extra_len }, streams })
    }
}
