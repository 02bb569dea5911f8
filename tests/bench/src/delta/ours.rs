//! Our delta, made as a publisher makes it and applied as a device does; and our full payload.

use std::path::{Path, PathBuf};

use payload_tools::ReadAt;
use payload_tools::delta::{LEVEL_DEFAULT, Tally};
use payload_tools::format::Compatible;
use payload_tools::format::delta::{Body, DeltaDecoder, Head, Part, SourceSum, head_len};
use seesaw_harness::image::Key;

use super::Store;
use super::image::ImageFile;
use super::pair::Pair;
use crate::cgroup::{Cost, measure};
use crate::{BenchError, at, release};

/// What makes frames; with another the full payload is another.
const FRAME_ENCODER: &str = include_str!("../../../../payload-tools/src/format/seekable/frame.rs");

/// A delta that was made, and what that took.
#[derive(Debug)]
pub(super) struct Delta {
    pub file: PathBuf,
    pub tally: Tally,
    pub cost: Cost,
}

/// Makes the delta with the program `payload`, without any option that changes it.
pub(super) fn make(
    payload: &Path,
    pair: Pair,
    (old, new): (&ImageFile, &ImageFile),
    compatible: &Compatible,
    store: &Store<'_>,
) -> Result<Delta, BenchError> {
    let file = store.path(&format!("{}.delta", pair.name()));
    if file.exists() {
        fs_err::remove_file(&file).map_err(at("remove a delta"))?;
    }
    store.note(&format!("making our delta of {}", pair.name()));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let command = [
        text(payload),
        "delta".to_owned(),
        text(&old.path),
        text(&new.path),
        format!("--compatible={compatible}"),
        format!("--out={}", text(&file)),
    ];
    let (cost, _) = measure(&command)?;
    let bytes = fs_err::read(&file).map_err(at("read a delta"))?;
    let tally = check(&bytes, old, new)?;
    Ok(Delta { file, tally, cost })
}

/// Applies a delta and compares what it makes with the new image.
fn check(delta: &[u8], old: &ImageFile, new: &ImageFile) -> Result<Tally, BenchError> {
    let payload = |error| BenchError::Payload(error);
    let head_len = usize::try_from(head_len(new.image.size)).map_err(|e| payload(e.into()))?;
    let head = delta.get(..head_len).ok_or_else(|| payload("a delta without a head".into()))?;
    let head = Head::parse(head, delta.len() as u64).map_err(|error| payload(error.into()))?;
    head.expect(&old.image.root, &new.image.root, new.image.size)
        .map_err(|error| payload(error.into()))?;
    let (from, to) = (old.bytes()?, new.bytes()?);
    let mut decoder = DeltaDecoder::new().map_err(|error| payload(error.into()))?;
    for part in (0..head.segments()).filter_map(|index| head.part(index)) {
        let made = segment(&mut decoder, delta, &head, &part, &from).map_err(payload)?;
        let mut wanted = vec![0; made.len()];
        to.fill_at(&mut wanted, part.segment.start).map_err(at("read an image"))?;
        if made != wanted {
            let at = part.segment.start;
            return Err(payload(format!("the delta makes another image from byte {at} on").into()));
        }
    }
    Ok(Tally::of(&head))
}

fn segment(
    decoder: &mut DeltaDecoder,
    delta: &[u8],
    head: &Head,
    part: &Part,
    old: &dyn ReadAt,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let len = |range: &std::ops::Range<u64>| usize::try_from(range.end - range.start);
    let body = usize::try_from(part.body.start)?..usize::try_from(part.body.end)?;
    let bytes = delta.get(body).ok_or("a body that is not there")?;
    let mut segment = vec![0; len(&part.segment)?];
    let body = Body::parse(part.kind, bytes, segment.len(), head.from_size)?;
    let mut source = Vec::new();
    for range in &body.sources {
        let begin = source.len();
        source.resize(begin + len(range)?, 0);
        old.fill_at(&mut source[begin..], range.start)?;
    }
    if body.sum.is_some_and(|sum| sum != SourceSum::of(&source)) {
        return Err("a source that is not what it was".into());
    }
    decoder.decode(&body, bytes, &mut source, &mut segment)?;
    Ok(segment)
}

/// The full payload at the delta's level, made or found.
pub(super) fn full(new: &ImageFile, store: &Store<'_>) -> Result<PathBuf, BenchError> {
    let mut key = Key::default();
    key.add(new.image.root.as_bytes()).add(LEVEL_DEFAULT.to_string()).add(FRAME_ENCODER);
    let path = store.path(&format!("{}.full", key.finish()));
    if !path.exists() {
        store.note("making our full payload");
        let work = store.work()?;
        let unfinished = work.path().join("full");
        release::encode(&new.bytes()?, new.image.size, LEVEL_DEFAULT, &unfinished)?;
        fs_err::rename(&unfinished, &path).map_err(at("keep a payload"))?;
    }
    Ok(path)
}
