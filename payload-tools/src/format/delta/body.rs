use std::fmt;
use std::ops::Range;

use super::varint::{self, Reader, VarintError};
use super::{Kind, PayloadPlace, RANGES_MAX, SOURCE_MAX, STREAMS_MAX};
use crate::format::BLOCK;

const SUM_LEN: usize = 8;

/// What a segment's source is said to be: the first bytes of its SHA-256. It
/// tells a wrong source from a damaged delta; what is made is checked by the tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SourceSum([u8; SUM_LEN]);

impl SourceSum {
    /// The sum of an assembled source.
    pub fn of(source: &[u8]) -> Self {
        let mut hasher = SourceHasher::default();
        hasher.add(source);
        hasher.sum()
    }
}

/// Makes the sum of a source that comes in pieces.
#[derive(Debug, Clone, Default)]
pub struct SourceHasher(sha2::Sha256);

impl SourceHasher {
    /// Adds the next piece.
    pub fn add(&mut self, piece: &[u8]) {
        sha2::Digest::update(&mut self.0, piece);
    }

    /// The sum of all pieces.
    pub fn sum(self) -> SourceSum {
        let digest: [u8; 32] = sha2::Digest::finalize(self.0).into();
        let mut sum = [0; SUM_LEN];
        sum.copy_from_slice(&digest[..SUM_LEN]);
        SourceSum(sum)
    }
}

impl fmt::Debug for SourceSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceSum({})", hex::encode(self.0))
    }
}

/// How a segment is made from its body's payload and its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Zeroes.
    Zero,
    /// The source itself.
    Copy,
    /// Decoding a frame.
    Zstd,
    /// Decoding a frame that refers to the source.
    Prefix,
    /// Decoding a frame of several streams and following them.
    Patch {
        /// Bytes of the streams together.
        streams_len: u32,
    },
}

impl Method {
    /// The kind of segments that are made so.
    pub fn kind(self) -> Kind {
        match self {
            Method::Zero => Kind::Zero,
            Method::Copy => Kind::Copy,
            Method::Zstd => Kind::Zstd,
            Method::Prefix => Kind::Prefix,
            Method::Patch { .. } => Kind::Patch,
        }
    }

    /// Where the payload is while the segment is made.
    pub fn payload_place(self) -> PayloadPlace {
        match self {
            Method::Zero | Method::Copy | Method::Zstd | Method::Prefix => PayloadPlace::Work,
            Method::Patch { .. } => PayloadPlace::Segment,
        }
    }
}

/// The body of a segment, understood and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Ranges of the old image, in bytes, that are the source one after another.
    pub sources: Vec<Range<u64>>,
    /// What the source has to be; nothing where there is none.
    pub sum: Option<SourceSum>,
    /// How the segment is made.
    pub method: Method,
    /// Where in the body the payload begins, which reaches to its end.
    pub payload_at: usize,
}

/// A body that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A number cannot be read.
    #[error("the segment's body is damaged: {0}")]
    Number(#[from] VarintError),
    /// No range, or more than a source can have.
    #[error("a source of {count} ranges, one has 1 to {RANGES_MAX}")]
    Ranges {
        /// Ranges stated.
        count: u64,
    },
    /// A range that is empty or not within the old image.
    #[error("source range {index} is not within the old image")]
    Range {
        /// Index of the range.
        index: usize,
    },
    /// More bytes than a source may have.
    #[error("a source of more than {SOURCE_MAX} bytes")]
    SourceLength,
    /// A copy of another length than the segment.
    #[error("a copy of {found} bytes, the segment has {wanted}")]
    CopyLength {
        /// Bytes of the source.
        found: u64,
        /// Bytes of the segment.
        wanted: usize,
    },
    /// The sum of the source is cut off.
    #[error("it ends within the sum of its source")]
    Sum,
    /// No streams, or longer ones than a segment has.
    #[error("streams of a length that a segment cannot have")]
    Streams,
    /// Bytes where there are none, or none where there are some.
    #[error("a payload of {found} bytes, which the kind does not have")]
    Payload {
        /// Bytes of the payload.
        found: usize,
    },
}

impl Body {
    /// Reads the body of a segment of `segment_len` bytes that is made from an
    /// image of `from_size`.
    pub fn parse(
        kind: Kind,
        body: &[u8],
        segment_len: usize,
        from_size: u64,
    ) -> Result<Self, BodyError> {
        let mut reader = Reader::new(body);
        let (mut sources, mut sum) = (Vec::new(), None);
        if matches!(kind, Kind::Copy | Kind::Prefix | Kind::Patch) {
            sources = parse_ranges(&mut reader, from_size)?;
            let (found, rest) = reader.rest().split_first_chunk().ok_or(BodyError::Sum)?;
            sum = Some(SourceSum(*found));
            reader = Reader::new(rest);
        }
        let method = match kind {
            Kind::Zero => Method::Zero,
            Kind::Copy => Method::Copy,
            Kind::Zstd => Method::Zstd,
            Kind::Prefix => Method::Prefix,
            Kind::Patch => parse_streams(&mut reader)?,
        };
        let payload = reader.rest().len();
        let body = Self { sources, sum, method, payload_at: body.len() - payload };
        body.check_lengths(payload, segment_len)
    }

    fn check_lengths(self, payload: usize, segment_len: usize) -> Result<Self, BodyError> {
        let is_frame = !matches!(self.method, Method::Zero | Method::Copy);
        if is_frame != (payload > 0) {
            return Err(BodyError::Payload { found: payload });
        }
        let (found, wanted) = (self.source_len() as u64, segment_len);
        if self.method == Method::Copy && found != wanted as u64 {
            return Err(BodyError::CopyLength { found, wanted });
        }
        Ok(self)
    }

    /// Bytes of the source, at most [`SOURCE_MAX`].
    pub fn source_len(&self) -> usize {
        self.sources.iter().map(|range| (range.end - range.start) as usize).sum()
    }

    /// The bytes of a body with this payload. The sources are whole blocks.
    pub fn encode(
        sources: &[Range<u64>],
        sum: Option<SourceSum>,
        method: Method,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(payload.len() + sources.len() * 4 + 24);
        if let Some(SourceSum(sum)) = sum {
            put_ranges(sources, &mut bytes);
            bytes.extend(sum);
        }
        if let Method::Patch { streams_len } = method {
            varint::put(streams_len.into(), &mut bytes);
        }
        bytes.extend(payload);
        bytes
    }
}

/// Each range by where it begins, counted from the end of the one before, and
/// its length, both in blocks.
fn put_ranges(sources: &[Range<u64>], out: &mut Vec<u8>) {
    varint::put(sources.len() as u64, out);
    let mut end = 0i64;
    for range in sources {
        let (first, past) = (range.start / BLOCK as u64, range.end / BLOCK as u64);
        varint::put_signed(first as i64 - end, out);
        varint::put(past - first, out);
        end = past as i64;
    }
}

fn parse_ranges(reader: &mut Reader<'_>, from_size: u64) -> Result<Vec<Range<u64>>, BodyError> {
    let count = reader.number()?;
    let bounded = usize::try_from(count).ok().filter(|count| (1..=RANGES_MAX).contains(count));
    let bounded = bounded.ok_or(BodyError::Ranges { count })?;
    let blocks = from_size / BLOCK as u64;
    let mut room = (SOURCE_MAX / BLOCK) as u64;
    let mut sources = Vec::with_capacity(bounded);
    let mut end = 0u64;
    for index in 0..bounded {
        let (skip, len) = (reader.signed()?, reader.number()?);
        let first = end.checked_add_signed(skip);
        let past = first.and_then(|first| first.checked_add(len));
        let (Some(first), Some(past)) = (first, past) else {
            return Err(BodyError::Range { index });
        };
        if len == 0 || past > blocks {
            return Err(BodyError::Range { index });
        }
        room = room.checked_sub(len).ok_or(BodyError::SourceLength)?;
        sources.push(first * BLOCK as u64..past * BLOCK as u64);
        end = past;
    }
    Ok(sources)
}

fn parse_streams(reader: &mut Reader<'_>) -> Result<Method, BodyError> {
    let within = 1..=STREAMS_MAX as u64;
    let len = Some(reader.number()?).filter(|len| within.contains(len));
    let streams_len = len.and_then(|len| u32::try_from(len).ok()).ok_or(BodyError::Streams)?;
    Ok(Method::Patch { streams_len })
}

#[cfg(test)]
mod tests {
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
            kind in 0usize..5,
        ) {
            if let Ok(body) = Body::parse(Kind::ALL[kind], &bytes, 8192, FROM) {
                prop_assert!(body.source_len() <= SOURCE_MAX);
                prop_assert!(body.sources.iter().all(|range| range.start < range.end));
                prop_assert!(body.sources.iter().all(|range| range.end <= FROM));
                prop_assert!(body.payload_at <= bytes.len());
            }
        }
    }
}
