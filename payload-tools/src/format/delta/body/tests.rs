use super::*;
use crate::format::SEGMENT;
use proptest::prelude::*;

const FROM: u64 = 100 * 4096;

fn blocks(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    ranges.iter().map(|range| range.start * 4096..range.end * 4096).collect()
}

#[test]
fn bodies_come_back() {
    let sources = blocks(&[90..100, 0..1, 0..2, 50..51]);
    let sum = SourceSum::of(b"the source");
    let patch = Method::Patch { streams_len: 300 };
    for (kind, method) in [(Kind::Prefix, Method::Prefix), (Kind::Patch, patch)] {
        let bytes = Body::encode(&sources, Some(sum), method, b"frame");
        let body = Body::parse(kind, &bytes, SEGMENT, FROM).unwrap();
        assert_eq!((&body.sources, body.sum, body.method), (&sources, Some(sum), method));
        assert_eq!(&bytes[body.payload_at..], b"frame");
        assert_eq!(body.source_len(), 14 * 4096);
    }
    let bytes = Body::encode(&sources, Some(sum), Method::Copy, b"");
    assert!(Body::parse(Kind::Copy, &bytes, 14 * 4096, FROM).is_ok());
    let zstd = Body::parse(Kind::Zstd, b"frame", SEGMENT, FROM).unwrap();
    assert_eq!((zstd.sources, zstd.sum, zstd.payload_at), (vec![], None, 0));
}

/// A body with one range, given as its raw numbers.
fn refused(numbers: &[u64], rest: &[u8]) -> BodyError {
    let mut bytes = Vec::new();
    numbers.iter().for_each(|number| varint::put(*number, &mut bytes));
    bytes.extend(rest);
    Body::parse(Kind::Patch, &bytes, SEGMENT, FROM).unwrap_err()
}

#[test]
fn hostile_numbers_are_refused_by_name() {
    let sum = [0; 8];
    assert_eq!(refused(&[0], &sum), BodyError::Ranges { count: 0 });
    assert_eq!(refused(&[1537], &sum), BodyError::Ranges { count: 1537 });
    assert_eq!(refused(&[u64::MAX], &sum), BodyError::Ranges { count: u64::MAX });
    // Zigzag: 199 is -100, 200 is 100.
    for (skip, len) in [(0, 0), (199, 1), (200, 1), (0, 101), (2, u64::MAX), (u64::MAX, 1)] {
        assert_eq!(refused(&[1, skip, len], &sum), BodyError::Range { index: 0 }, "{skip}");
    }
    let overlapping: Vec<u64> = [20].into_iter().chain([0, 100]).collect();
    assert_eq!(refused(&overlapping, &[]), BodyError::Number(VarintError::Cut));
    let again: Vec<u64> = [20, 0, 100].into_iter().chain([199, 100].repeat(19)).collect();
    assert_eq!(refused(&again, &sum), BodyError::SourceLength);
    assert_eq!(refused(&[1, 0, 1], &sum[1..]), BodyError::Sum);
    let streams = |len: u64| {
        let mut rest = sum.to_vec();
        varint::put(len, &mut rest);
        rest.push(0);
        refused(&[1, 0, 1], &rest)
    };
    for len in [0, STREAMS_MAX as u64 + 1, u64::MAX] {
        assert_eq!(streams(len), BodyError::Streams, "{len}");
    }
    let mut no_frame = sum.to_vec();
    no_frame.push(1);
    assert_eq!(refused(&[1, 0, 1], &no_frame), BodyError::Payload { found: 0 });
}

#[test]
fn a_copy_is_the_segment_and_nothing_more() {
    let sum = Some(SourceSum::of(b""));
    let good = Body::encode(&blocks(&[3..4, 7..8]), sum, Method::Copy, b"");
    let parse = |bytes: &[u8], len| Body::parse(Kind::Copy, bytes, len, FROM);
    assert!(parse(&good, 8192).is_ok());
    let error = parse(&good, 4096).unwrap_err();
    assert_eq!(error, BodyError::CopyLength { found: 8192, wanted: 4096 });
    let more = Body::encode(&blocks(&[3..4, 7..8]), sum, Method::Copy, b"x");
    assert_eq!(parse(&more, 8192).unwrap_err(), BodyError::Payload { found: 1 });
    assert!(Body::parse(Kind::Zstd, b"", 8192, FROM).is_err());
    assert!(Body::parse(Kind::Zero, b"x", 8192, FROM).is_err());
}

proptest! {
    /// Whatever is accepted stays within the old image and the bounds.
    #[test]
    fn an_accepted_body_is_bounded(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        kind in 0usize..Kind::ALL.len(),
    ) {
        if let Ok(body) = Body::parse(Kind::ALL[kind], &bytes, 8192, FROM) {
            let is_bounded = match body.method {
                Method::Repack { .. } => {
                    body.parts.iter().all(|part| part.stored_len() <= SOURCE_MAX)
                }
                _ => body.source_len() <= SOURCE_MAX,
            };
            prop_assert!(is_bounded);
            prop_assert!(body.sources.iter().all(|range| range.start < range.end));
            prop_assert!(body.sources.iter().all(|range| range.end <= FROM));
            prop_assert!(body.payload_at <= bytes.len());
        }
    }
}
