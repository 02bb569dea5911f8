//! A delta that takes as much memory as the format lets it; real ones take less.

use std::ops::Range;
use std::path::Path;
use std::slice;

use payload_tools::format::delta::adjust::{Adjustment, FileAdjustment, ShiftMap};
use payload_tools::format::delta::{
    Body, Head, Method, SOURCE_MAX, STREAMS_MAX, SourceSum, Step, encode_patch,
};
use payload_tools::format::seekable::{FrameEncoder, FrameError};
use payload_tools::format::{BLOCK, Role, SEGMENT};
use payload_tools::testing::noise;

use super::Store;
use super::apply::{Images, Payloads, Ready};
use super::image::ImageFile;
use crate::release::{compatible, encode};
use crate::{BenchError, Sample, at};

/// By turns a patch, a prefix, and one that only the full payload has: enough that each thread meets
/// all of them.
const SEGMENTS: usize = 30;
const OLD_LEN: usize = 6 * SEGMENT;
/// Bytes of a segment that are the end of its source: noise, so that the delta has less to say.
const SAME: usize = 128 * BLOCK;
/// The others are new, and the same over and over: threads wait for each other where segments are
/// long on the wire.
const PATTERN: usize = 8 * BLOCK;
const LEVEL: i32 = 9;
/// Places of a patch's maps, nearly all that one may have.
const PLACES: u64 = 60_000;
/// What the streams of a patch may lack of their greatest length.
const STREAMS_SPARE: usize = 1 << 18;

/// Installs, with `program` (`bench-install`), a release whose delta has the longest sources and
/// streams.
pub fn install_worst_delta(program: &Path, cache: &Path) -> Result<Sample, BenchError> {
    let store = Store::open(cache.join("delta"), &|_| ())?;
    let work = store.work()?;
    let old = noise(1, OLD_LEN);
    let new: Vec<u8> = (0..SEGMENTS).flat_map(|index| segment(index, &old)).collect();
    let [was, will_be] = [("old", &old), ("new", &new)].map(|(name, root)| -> Result<Images, _> {
        let open = |role, bytes: &[u8]| {
            let path = work.path().join(format!("{name}.{role}"));
            fs_err::write(&path, bytes).map_err(at("write an image"))?;
            ImageFile::open(path, role, &compatible()?)
        };
        Ok::<_, BenchError>([open(Role::Kernel, &noise(2, SEGMENT))?, open(Role::Root, root)?])
    });
    let (was, will_be) = (was?, will_be?);
    let [delta, full] = ["delta", "full"].map(|name| work.path().join(name));
    let bytes = delta_of((&was[1], &old), (&will_be[1], &new));
    let bytes = bytes.map_err(|error| BenchError::Payload(error.into()))?;
    fs_err::write(&delta, bytes).map_err(at("write a delta"))?;
    encode(&will_be[1].bytes()?, new.len() as u64, LEVEL, &full)?;
    let payloads = Payloads { full: &full, delta: &delta };
    Ready::lay_out(work.path(), (&was, &will_be), payloads)?.by_delta(program)
}

fn is_new(index: usize) -> bool {
    index % 3 == 2
}

fn segment(index: usize, old: &[u8]) -> Vec<u8> {
    let same = if is_new(index) { &[] } else { &old[source(index)][SOURCE_MAX - SAME..] };
    let pattern = noise(10 + index as u64, PATTERN);
    let new = pattern.into_iter().cycle().take(SEGMENT - same.len());
    same.iter().copied().chain(new).collect()
}

/// Where the source of a segment is.
fn source(index: usize) -> Range<usize> {
    let start = index * BLOCK;
    start..start + SOURCE_MAX
}

fn delta_of(
    (was, old): (&ImageFile, &[u8]),
    (will_be, new): (&ImageFile, &[u8]),
) -> Result<Vec<u8>, FrameError> {
    let (mut words, mut bodies) = (Vec::new(), Vec::new());
    for (index, segment) in new.chunks(SEGMENT).enumerate() {
        let (range, source) = (source(index), &old[source(index)]);
        let (method, body) = body(index, &range, source, segment)?;
        words.push((method.kind(), body.len() as u32));
        bodies.extend(body);
    }
    let [from, to] = [was, will_be].map(|file| (&file.image.root, file.image.size));
    Ok([Head::encode(from, to, &words), bodies].concat())
}

fn body(
    index: usize,
    range: &Range<usize>,
    source: &[u8],
    segment: &[u8],
) -> Result<(Method, Vec<u8>), FrameError> {
    let (method, payload) = made(index, source, segment)?;
    let range = range.start as u64..range.end as u64;
    let body = match method {
        Method::Zstd => payload,
        _ => Body::encode(slice::from_ref(&range), Some(SourceSum::of(source)), method, &payload),
    };
    Ok((method, body))
}

fn made(index: usize, source: &[u8], segment: &[u8]) -> Result<(Method, Vec<u8>), FrameError> {
    Ok(match index % 3 {
        0 => {
            let streams = streams(source, segment);
            let streams_len = streams.len() as u32;
            (Method::Patch { streams_len }, FrameEncoder::new(LEVEL)?.encode(&streams)?)
        }
        1 => (Method::Prefix, FrameEncoder::encode_with_prefix(LEVEL, source, segment)?),
        _ => (Method::Zstd, FrameEncoder::new(LEVEL)?.encode(segment)?),
    })
}

/// Streams as long as they may be, most of which say nothing.
fn streams(source: &[u8], segment: &[u8]) -> Vec<u8> {
    let mut places = ShiftMap::default();
    (0..PLACES).for_each(|place| places.push(place, (place % 2) as i64 + 1));
    let adjustment = Adjustment {
        kernel: [places, ShiftMap::default()],
        files: vec![FileAdjustment::default()],
        ..Adjustment::default()
    };
    let adjust = adjustment.encode();
    let fresh = segment.len() - SAME;
    // A step that does nothing takes three bytes.
    let idle = (STREAMS_MAX - STREAMS_SPARE - fresh - adjust.len()) / 3;
    let mut steps = vec![Step { old: 0, same: 0, fresh: 0 }; idle];
    steps.push(Step { old: SOURCE_MAX - SAME, same: SAME, fresh });
    encode_patch(&adjust, &steps, source, segment)
}

#[cfg(test)]
mod tests {
    use payload_tools::format::delta::DeltaDecoder;

    use super::*;

    #[test]
    fn the_worst_delta_is_one_that_a_device_uses() {
        let old = noise(1, OLD_LEN);
        for index in 0..2 {
            let segment = segment(index, &old);
            let range = source(index);
            let mut source = old[range.clone()].to_vec();
            let (method, bytes) = body(index, &range, &source, &segment).unwrap();
            let parsed = Body::parse(method.kind(), &bytes, segment.len(), OLD_LEN as u64).unwrap();
            let payload = &bytes[parsed.payload_at..];
            if let Method::Patch { streams_len } = method {
                let len = streams_len as usize;
                assert!((STREAMS_MAX - STREAMS_SPARE..=STREAMS_MAX).contains(&len), "{len}");
            }
            let frame = FrameEncoder::new(LEVEL).unwrap().encode(&segment).unwrap();
            assert!(payload.len() < frame.len() / 2, "{method:?}: {} bytes", payload.len());
            let mut made = vec![0; segment.len()];
            DeltaDecoder::new().unwrap().decode(&parsed, &bytes, &mut source, &mut made).unwrap();
            assert!(made == segment, "{method:?}");
        }
    }
}
