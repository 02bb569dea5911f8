use std::fmt;
use std::ops::Range;

use super::repack::{DirectoryError, PartPlace, places};
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
    /// The same, part by part, with blocks unpacked before and packed after.
    Repack {
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
            Method::Repack { .. } => Kind::Repack,
        }
    }

    /// Where the payload is while the segment is made.
    pub fn payload_place(self) -> PayloadPlace {
        match self {
            Method::Zero | Method::Copy | Method::Zstd | Method::Prefix => PayloadPlace::Work,
            Method::Patch { .. } | Method::Repack { .. } => PayloadPlace::Segment,
        }
    }
}

/// The body of a segment, understood and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Ranges of the old image, in bytes, that are the source one after another; of a repacked segment
    /// those of all parts.
    pub sources: Vec<Range<u64>>,
    /// What the source has to be; nothing where there is none.
    pub sum: Option<SourceSum>,
    /// How the segment is made.
    pub method: Method,
    /// Where the directory of a repacked segment has its codecs.
    pub codecs: Range<usize>,
    /// The parts of a repacked segment; their directories are places in the body.
    pub parts: Vec<PartPlace>,
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
    /// The directory of a repacked segment is refused, or ends behind the body.
    #[error("a repacked segment is refused")]
    Directory(#[from] DirectoryError),
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
        let (mut codecs, mut parts) = (0..0, Vec::new());
        match kind {
            Kind::Zero | Kind::Zstd => {}
            Kind::Copy | Kind::Prefix | Kind::Patch => {
                sources = parse_ranges(&mut reader, from_size)?;
            }
            Kind::Repack => {
                (codecs, parts) = parse_directory(&mut reader, body.len(), from_size)?;
                sources = parts.iter().flat_map(|part| part.stored.iter().cloned()).collect();
            }
        }
        if !matches!(kind, Kind::Zero | Kind::Zstd) {
            let (found, rest) = reader.rest().split_first_chunk().ok_or(BodyError::Sum)?;
            sum = Some(SourceSum(*found));
            reader = Reader::new(rest);
        }
        let method = match kind {
            Kind::Zero => Method::Zero,
            Kind::Copy => Method::Copy,
            Kind::Zstd => Method::Zstd,
            Kind::Prefix => Method::Prefix,
            Kind::Patch => Method::Patch { streams_len: parse_streams(&mut reader)? },
            Kind::Repack => Method::Repack { streams_len: parse_streams(&mut reader)? },
        };
        let payload = reader.rest().len();
        let payload_at = body.len() - payload;
        let body = Self { sources, sum, method, codecs, parts, payload_at };
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

    /// Bytes of the source, at most [`SOURCE_MAX`], or of a repacked segment's part.
    pub fn source_len(&self) -> usize {
        self.sources.iter().map(|range| (range.end - range.start) as usize).sum()
    }

    /// The bytes of the body of a repacked segment.
    pub fn encode_repack(
        directory: &[u8],
        SourceSum(sum): SourceSum,
        streams_len: u32,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(directory.len() + payload.len() + 24);
        varint::put(directory.len() as u64, &mut bytes);
        bytes.extend(directory);
        bytes.extend(sum);
        varint::put(streams_len.into(), &mut bytes);
        bytes.extend(payload);
        bytes
    }

    /// The bytes of a body of another kind with this payload. The sources are whole blocks.
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

fn parse_streams(reader: &mut Reader<'_>) -> Result<u32, BodyError> {
    let within = 1..=STREAMS_MAX as u64;
    let len = Some(reader.number()?).filter(|len| within.contains(len));
    len.and_then(|len| u32::try_from(len).ok()).ok_or(BodyError::Streams)
}

/// Where a body of so many bytes has its codecs, and its parts.
fn parse_directory(
    reader: &mut Reader<'_>,
    body_len: usize,
    from_size: u64,
) -> Result<(Range<usize>, Vec<PartPlace>), BodyError> {
    let len = usize::try_from(reader.number()?).map_err(|_| DirectoryError::End)?;
    let start = body_len - reader.rest().len();
    let (directory, rest) = reader.rest().split_at_checked(len).ok_or(DirectoryError::End)?;
    *reader = Reader::new(rest);
    let (codecs, mut parts) = places(directory, from_size)?;
    let in_body = |range: &Range<usize>| range.start + start..range.end + start;
    for part in &mut parts {
        part.directory = in_body(&part.directory);
    }
    Ok((in_body(&codecs), parts))
}

#[cfg(test)]
mod tests;
