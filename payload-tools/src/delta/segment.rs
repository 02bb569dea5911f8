//! The smallest body that makes a segment.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use super::adjusting::adjustment;
use super::continuations::Continuations;
use super::files::ImageFile;
use super::index::Index;
use super::objects::{MovedObject, Objects};
use super::repacking::{Packer, Repacked, StoredBlocks};
use super::steps::{Part, steps};
use super::view::View;
use super::{DeltaPlan, sources};
use crate::ReadAt;
use crate::format::delta::adjust::{AdjustError, Adjuster};
use crate::format::delta::{
    BODY_LEN_MAX, Body, DeltaDecoder, Kind, Method, SOURCE_MAX, STREAMS_MAX, SourceSum,
    encode_patch,
};
use crate::format::seekable::FrameEncoder;

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

/// What is known of both images before a segment is made.
pub(super) struct Known<'a> {
    /// The old image, unpacked.
    pub old: View<'a>,
    /// The new one.
    pub new: View<'a>,
    /// Packed blocks of the old one, as they are stored.
    pub stored: StoredBlocks,
    /// The old view by its content.
    pub index: Index,
    /// The files of the new one that continue files of the old one.
    pub files: Continuations,
    /// How the numbers of kernel modules and programs moved.
    pub objects: Objects,
}

/// Makes the segments of a delta, one at a time.
pub(super) struct SegmentMaker<'a> {
    old: &'a dyn ReadAt,
    known: &'a Known<'a>,
    plan: &'a DeltaPlan,
    trial: FrameEncoder,
    final_: FrameEncoder,
    decoder: DeltaDecoder,
    adjuster: Adjuster,
    /// If one of the images has packed blocks.
    packer: Option<Packer<'a>>,
}

/// A way to make a segment that is still to be compressed.
enum Way<'a> {
    Plain,
    Prefix(&'a Source),
    /// With the streams of the patch.
    Patch(&'a Source, Vec<u8>),
    Repack(Repacked),
}

/// Ranges of the old image and their bytes.
struct Source {
    ranges: Vec<Range<u64>>,
    bytes: Vec<u8>,
    sum: SourceSum,
    /// Files, or what of them may continue, and what does so in the segment.
    parts: Vec<Part>,
    /// Continuations that have bytes in the segment.
    continued: BTreeSet<usize>,
}

impl<'a> SegmentMaker<'a> {
    pub fn new(
        (old, new): (&'a dyn ReadAt, &'a dyn ReadAt),
        known: &'a Known<'a>,
        plan: &'a DeltaPlan,
    ) -> io::Result<Self> {
        let is_packed = known.old.is_packed() || known.new.is_packed();
        let packer = is_packed.then(|| Packer::new((old, plan.old.size), new, known));
        Ok(Self {
            old,
            known,
            plan,
            trial: FrameEncoder::new(TRIAL_LEVEL).map_err(io::Error::other)?,
            final_: FrameEncoder::new(plan.level).map_err(io::Error::other)?,
            decoder: DeltaDecoder::new().map_err(io::Error::other)?,
            adjuster: Adjuster::default(),
            packer: packer.transpose()?,
        })
    }

    /// The segment that begins at `start` of the new image.
    pub fn make(&mut self, segment: &[u8], start: u64) -> io::Result<Made> {
        if segment.iter().all(|byte| *byte == 0) {
            return Ok(Made { kind: Kind::Zero, body: Vec::new() });
        }
        let range = start..start + segment.len() as u64;
        let copy = self.copy(segment, &range)?;
        if let Some(copy) = copy.as_ref().filter(|copy| copy.len() <= CHEAP_COPY) {
            return Ok(Made { kind: Kind::Copy, body: copy.clone() });
        }
        let mut ways = vec![Way::Plain];
        let source;
        match &mut self.packer {
            Some(packer) => {
                ways.extend(packer.repack(&mut self.adjuster, &range)?.map(Way::Repack));
            }
            None => {
                source = self.source(segment, start)?;
                if let Some(source) = &source {
                    ways.push(Way::Prefix(source));
                    let streams = self.patch(source, segment);
                    ways.extend(streams.map(|streams| Way::Patch(source, streams)));
                }
            }
        }
        let made = self.compressed(segment, ways)?;
        match copy {
            Some(body) if body.len() <= made.body.len() => Ok(Made { kind: Kind::Copy, body }),
            _ => Ok(made),
        }
    }

    /// The body of a copy, if the old image has every block of the segment.
    fn copy(&self, segment: &[u8], range: &Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let ranges = match &self.packer {
            Some(packer) => packer.same(range)?,
            None => sources::same_blocks(segment, &self.known.index),
        };
        let Some(ranges) = ranges else { return Ok(None) };
        let source = Source::read(self.old, ranges)?;
        let copy = || Body::encode(&source.ranges, Some(source.sum), Method::Copy, &[]);
        Ok((source.bytes == segment).then(copy))
    }

    fn source(&self, segment: &[u8], start: u64) -> io::Result<Option<Source>> {
        let range = start..start + segment.len() as u64;
        let files = &self.known.files;
        let places: Vec<_> = files.within(&range).collect();
        let continued = |(image, index): &(Range<u64>, usize)| files.get(*index).continued(image);
        let wanted: Vec<_> = places.iter().filter_map(continued).collect();
        let (index, bounds) = (&self.known.index, (self.plan.old.size, SOURCE_MAX));
        let ranges = sources::alike(segment, index, bounds, &wanted);
        if ranges.is_empty() {
            return Ok(None);
        }
        let mut source = Source::read(self.old, ranges)?;
        for (image, index) in places {
            let new = (image.start - start) as usize..(image.end - start) as usize;
            let old = files
                .get(index)
                .continued(&image)
                .and_then(|old| sources::find(&source.ranges, &old));
            source.parts.extend(old.map(|old| Part { old, new }));
            source.continued.insert(index);
        }
        Ok(Some(source))
    }

    /// The streams of a patch of the source; `None` if they are more than a device takes.
    fn patch(&mut self, source: &Source, segment: &[u8]) -> Option<Vec<u8>> {
        let Known { files, objects, .. } = self.known;
        let continued = source.continued.iter();
        let continued: Vec<(&ImageFile, &MovedObject)> = continued
            .filter_map(|index| Some((&files.get(*index).old, objects.all.get(index)?)))
            .collect();
        let adjust = adjustment(objects, &continued, &source.ranges, &source.bytes).encode();
        let (adjust, adjusted) = adjusted(&mut self.adjuster, adjust, &source.bytes);
        let steps = steps(&adjusted, segment, &source.parts);
        let streams = encode_patch(&adjust, &steps, &adjusted, segment);
        (streams.len() <= STREAMS_MAX).then_some(streams)
    }

    /// Tries each way quickly, and the best ones well.
    fn compressed(&mut self, segment: &[u8], ways: Vec<Way<'_>>) -> io::Result<Made> {
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
            Way::Patch(_, streams) | Way::Repack(Repacked { streams, .. }) => {
                encoder.encode(streams)
            }
        };
        let payload = payload.map_err(io::Error::other)?;
        Ok(match way {
            Way::Plain => payload,
            Way::Prefix(source) | Way::Patch(source, _) => {
                Body::encode(&source.ranges, Some(source.sum), way.method(), &payload)
            }
            Way::Repack(Repacked { directory, sum, streams, .. }) => {
                Body::encode_repack(directory, *sum, streams.len() as u32, &payload)
            }
        })
    }

    /// Whether a device would make the segment of this body: nothing else is written.
    fn makes(&mut self, way: &Way<'_>, body: &[u8], segment: &[u8]) -> bool {
        let parsed = Body::parse(way.method().kind(), body, segment.len(), self.plan.old.size);
        let (Ok(parsed), true) = (parsed, body.len() <= BODY_LEN_MAX) else { return false };
        let mut source = way.source().to_vec();
        let mut made = vec![0; segment.len()];
        self.decoder.decode(&parsed, body, &mut source, &mut made).is_ok() && made == segment
    }
}

/// A source with its numbers moved, and what does that; nothing, where it is more than a device takes.
pub(super) fn adjusted(
    adjuster: &mut Adjuster,
    mut adjust: Vec<u8>,
    source: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let mut adjusted = source.to_vec();
    if let Err(error) = adjuster.apply(&adjust, &mut adjusted) {
        debug_assert_eq!(error, AdjustError::Places, "an adjustment is good, but may be too long");
        adjust.clear();
        adjusted.copy_from_slice(source);
    }
    (adjust, adjusted)
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
            Way::Patch(_, streams) => Method::Patch { streams_len: streams.len() as u32 },
            Way::Repack(Repacked { streams, .. }) => {
                Method::Repack { streams_len: streams.len() as u32 }
            }
        }
    }

    fn source(&self) -> &[u8] {
        match self {
            Way::Plain => &[],
            Way::Prefix(source) | Way::Patch(source, _) => &source.bytes,
            Way::Repack(repacked) => &repacked.stored,
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
        Ok(Self { ranges, bytes, sum, parts: Vec::new(), continued: BTreeSet::new() })
    }
}
