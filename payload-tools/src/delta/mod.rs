//! Making a delta payload: each segment of the new image the cheapest way, out
//! of ranges of the old image that are found by their content and by file.

mod adjusting;
mod breakdown;
mod code_map;
mod continuations;
mod elf;
mod files;
mod index;
mod matcher;
mod objects;
mod own_numbers;
mod padded;
mod program;
mod repacking;
mod segment;
mod sources;
mod steps;
mod tracks;
mod unpack;
mod view;
mod votes;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use serde::Serialize;

use crate::format::delta::{Head, Kind, head_len};
use crate::format::seekable::{segment_count, segment_range};
use crate::format::{Hash, Image, SEGMENT};
use crate::{ReadAt, workers};

pub use breakdown::{Breakdown, BreakdownError, ClassShare, FileClass, FileShare, breakdown};
use continuations::Continuations;
use index::Index;
use objects::Objects;
pub use padded::Padded;
use repacking::StoredBlocks;
use segment::{Known, Made, SegmentMaker};
pub use unpack::{UnpackError, unpack};
use view::View;

/// The zstd level of deltas, where nobody says otherwise.
pub const LEVEL_DEFAULT: i32 = 19;

/// One of the two images of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaImage {
    /// Root of its tree.
    pub root: Hash,
    /// Its bytes.
    pub size: u64,
}

/// What a delta is to be made of.
#[derive(Debug, Clone)]
pub struct DeltaPlan {
    /// The image that devices have.
    pub old: DeltaImage,
    /// The image that they are to get.
    pub new: DeltaImage,
    /// zstd level, 1 to 22.
    pub level: i32,
    /// Threads to work with, each with some 200 MiB at level 19.
    pub threads: NonZero<usize>,
}

/// A delta by what it is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Bytes of the file.
    pub size: u64,
    /// What there is of each kind; kinds without segments are left out.
    pub kinds: BTreeMap<Kind, Share>,
}

/// The segments of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// How many.
    pub segments: u64,
    /// Bytes of the new image that they make.
    pub image_bytes: u64,
    /// Bytes of the delta that they take.
    pub bytes: u64,
}

/// A delta that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// An image cannot be read.
    #[error("cannot read the {image} image")]
    Read {
        /// Old or new.
        image: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A segment cannot be made.
    #[error("cannot make segment {index}")]
    Segment {
        /// Its index.
        index: u64,
        /// Why.
        source: io::Error,
    },
    /// There is no memory to encode.
    #[error("cannot make an encoder")]
    Encoder(#[source] io::Error),
    /// The file cannot be written.
    #[error("cannot write the delta")]
    Write(#[source] io::Error),
}

/// Told of bytes as they are done, of both images together.
pub type Advance<'a> = dyn Fn(u64) + Sync + 'a;

/// Writes the delta that makes `new` of `old` into the empty file `out`.
pub fn make(
    plan: &DeltaPlan,
    (old, new): (&dyn ReadAt, &dyn ReadAt),
    out: &std::fs::File,
    advance: &Advance<'_>,
) -> Result<Tally, MakeError> {
    let known = known(plan, (old, new), advance)?;
    let mut segments = Vec::new();
    let mut end = head_len(plan.new.size);
    let tools = || -> Result<_, MakeError> {
        let maker = SegmentMaker::new((old, new), &known, plan).map_err(MakeError::Encoder)?;
        Ok((maker, vec![0; SEGMENT]))
    };
    let make = |(maker, buffer): &mut (SegmentMaker<'_>, Vec<u8>), at| {
        let range = segment_range(plan.new.size, at);
        let segment = &mut buffer[..(range.end - range.start) as usize];
        new.fill_at(segment, range.start)
            .map_err(|source| MakeError::Read { image: "new", source })?;
        let made = maker.make(segment, range.start);
        let made = made.map_err(|source| MakeError::Segment { index: at, source })?;
        advance(segment.len() as u64);
        Ok(made)
    };
    let accept = |_, Made { kind, body }: Made| {
        out.write_all_at(&body, end).map_err(MakeError::Write)?;
        end += body.len() as u64;
        // A body is at most BODY_LEN_MAX.
        segments.push((kind, body.len() as u32));
        Ok(())
    };
    workers::in_order((plan.threads, segment_count(plan.new.size)), tools, make, accept)?;
    let (from, to) = ((&plan.old.root, plan.old.size), (&plan.new.root, plan.new.size));
    let head = Head::encode(from, to, &segments);
    out.write_all_at(&head, 0).map_err(MakeError::Write)?;
    let head = Head::parse(&head, end).map_err(io::Error::other);
    Ok(Tally::of(&head.map_err(MakeError::Write)?))
}

fn known<'a>(
    plan: &DeltaPlan,
    (old, new): (&'a dyn ReadAt, &'a dyn ReadAt),
    advance: &Advance<'_>,
) -> Result<Known<'a>, MakeError> {
    let read = |image| move |source| MakeError::Read { image, source };
    let of = |(image, source)| MakeError::Read { image, source };
    let threads = plan.threads;
    let (old_view, old_files) = View::open(old, plan.old.size, threads).map_err(read("old"))?;
    let (mut new_view, new_files) = View::open(new, plan.new.size, threads).map_err(read("new"))?;
    new_view.settle().map_err(read("new"))?;
    let stored = StoredBlocks::of(&old_view, old, plan.old.size).map_err(read("old"))?;
    let size = old_view.size();
    let advance_old = |bytes: u64| advance(share(bytes, plan.old.size, size));
    let index = Index::build(&old_view, size, threads, &advance_old).map_err(read("old"))?;
    let files = Continuations::of(&old_files, new_files);
    let objects = Objects::learn(&files, (&old_view, &new_view), threads).map_err(of)?;
    Ok(Known { old: old_view, new: new_view, stored, index, files, objects })
}

/// Bytes of an image for bytes of its view.
fn share(bytes: u64, image: u64, view: u64) -> u64 {
    (u128::from(bytes) * u128::from(image) / u128::from(view.max(1))) as u64
}

impl From<&Image> for DeltaImage {
    fn from(image: &Image) -> Self {
        Self { root: image.root, size: image.size }
    }
}

impl Tally {
    /// What a delta with this head is made of.
    pub fn of(head: &Head) -> Self {
        let mut tally = Self { size: head_len(head.to_size), kinds: BTreeMap::new() };
        let len = |range: &Range<u64>| range.end - range.start;
        for part in (0..head.segments()).filter_map(|index| head.part(index)) {
            let share = tally.kinds.entry(part.kind).or_default();
            share.segments += 1;
            share.image_bytes += len(&part.segment);
            share.bytes += len(&part.body);
            tally.size += len(&part.body);
        }
        tally
    }
}

#[cfg(test)]
mod tests;
