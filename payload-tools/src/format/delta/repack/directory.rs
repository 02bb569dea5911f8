//! What each part of a segment is made of: bytes of the old image, and which of them are packed.

use std::ops::Range;

use super::super::codec::Codec;
use super::super::varint::{self, Reader, VarintError};
use super::{
    BLOCK_MAX, CODECS_MAX, PART_INPUT_MAX, PART_MAX, PART_SOURCE_MAX, PARTS_MAX, RANGES_MAX,
    STORED_MAX,
};
use crate::format::BLOCK;

/// The families of codecs, by their numbers.
const ZSTD: u64 = 0;
const ZSTD_HEADED: u64 = 1;
const LZ4: u64 = 2;

/// A directory that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// A number cannot be read.
    #[error("its directory is damaged: {0}")]
    Number(#[from] VarintError),
    /// A codec that is not known, or too many.
    #[error("its directory names a codec that is not known")]
    Codec,
    /// No parts, or too many.
    #[error("its directory has no parts, or too many")]
    Parts,
    /// A part of no content or too much.
    #[error("its directory has a part that is too long")]
    Part,
    /// Bytes that the old image does not have, or none.
    #[error("its directory names bytes that are not within the old image")]
    Range,
    /// A source of too many bytes.
    #[error("its directory has a part made of too many bytes")]
    Source,
    /// Bytes behind the last part.
    #[error("its directory does not end where it should")]
    End,
}

/// The codecs that a segment's directory and packings number from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecTable {
    codecs: [Option<Codec>; CODECS_MAX as usize],
}

impl CodecTable {
    /// The codec of a number; `None`: bytes as they are, of which that is the number 0.
    pub fn get(&self, number: u64) -> Result<Option<Codec>, DirectoryError> {
        let Some(index) = number.checked_sub(1) else { return Ok(None) };
        let codec = usize::try_from(index).ok().and_then(|index| *self.codecs.get(index)?);
        codec.map(Some).ok_or(DirectoryError::Codec)
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, DirectoryError> {
        let count = reader.number()?;
        let mut codecs = [None; CODECS_MAX as usize];
        let used = usize::try_from(count).ok().and_then(|count| codecs.get_mut(..count));
        for codec in used.ok_or(DirectoryError::Codec)? {
            *codec = Some(Codec::parse(reader)?);
        }
        Ok(Self { codecs })
    }
}

impl Codec {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, DirectoryError> {
        let (family, level, size) = (reader.number()?, reader.number()?, reader.number()?);
        let level = u8::try_from(level).map_err(|_| DirectoryError::Codec)?;
        let size = u32::try_from(size).map_err(|_| DirectoryError::Codec)?;
        let is_size = |min: u32| (min..=BLOCK_MAX as u32).contains(&size);
        match family {
            ZSTD | ZSTD_HEADED if (1..=22).contains(&level) && is_size(4096) => {
                Ok(Self::Zstd { level, content: size, headed: family == ZSTD_HEADED })
            }
            LZ4 if (level == 0 || (3..=12).contains(&level))
                && is_size(4096)
                && size.is_multiple_of(4096) =>
            {
                Ok(Self::Lz4 { level, stored: size })
            }
            _ => Err(DirectoryError::Codec),
        }
    }

    fn encode(self, out: &mut Vec<u8>) {
        let (family, level, size) = match self {
            Self::Zstd { level, content, headed: false } => (ZSTD, level, content),
            Self::Zstd { level, content, headed: true } => (ZSTD_HEADED, level, content),
            Self::Lz4 { level, stored } => (LZ4, level, stored),
        };
        for number in [family, level.into(), size.into()] {
            varint::put(number, out);
        }
    }
}

/// What a part is made of, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Bytes of the old image as they are.
    Stored(Range<u64>),
    /// What blocks of the old image hold.
    Packed {
        /// Number of their codec.
        codec: u64,
        /// Where the first begins in the old image.
        start: u64,
        /// What they take there, one behind the other.
        groups: Vec<BlockGroup>,
        /// Which bytes of their content; what is beyond its end is zeroes.
        content: Range<u64>,
    },
}

/// Blocks that lie one behind the other and take as many bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockGroup {
    /// How many.
    pub blocks: u64,
    /// Bytes of each.
    pub stored: u32,
    /// Whether they are packed; otherwise they are stored as they are.
    pub is_packed: bool,
}

/// What a part is made of and how much it makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartDirectory {
    /// Bytes of its content.
    pub content: usize,
    /// What it is made of.
    pub items: Vec<Item>,
}

/// A whole directory, as a publisher writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// In the order of their numbers.
    pub codecs: Vec<Codec>,
    /// In the order of the segment.
    pub parts: Vec<PartDirectory>,
}

impl Directory {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(self.codecs.len() as u64, &mut out);
        for codec in &self.codecs {
            codec.encode(&mut out);
        }
        varint::put(self.parts.len() as u64, &mut out);
        for part in &self.parts {
            varint::put(part.content as u64, &mut out);
            varint::put(part.items.len() as u64, &mut out);
            // Each part is read alone.
            let mut end = 0;
            for item in &part.items {
                item.encode(&mut end, &mut out);
            }
        }
        out
    }

    /// Bytes of the old image that its parts are made of, in order.
    pub fn stored(&self) -> Vec<Range<u64>> {
        self.parts.iter().flat_map(|part| part.items.iter().map(Item::stored)).collect()
    }
}

impl Item {
    /// Bytes of the old image that it takes.
    pub fn stored(&self) -> Range<u64> {
        match self {
            Self::Stored(range) => range.clone(),
            Self::Packed { start, groups, .. } => {
                let len = |group: &BlockGroup| group.blocks * u64::from(group.stored);
                *start..*start + groups.iter().map(len).sum::<u64>()
            }
        }
    }

    fn encode(&self, end: &mut u64, out: &mut Vec<u8>) {
        let range = self.stored();
        let skip = range.start as i64 - *end as i64;
        *end = range.end;
        match self {
            Self::Stored(range) => {
                varint::put(0, out);
                varint::put_signed(skip, out);
                varint::put(range.end - range.start, out);
            }
            Self::Packed { codec, groups, content, .. } => {
                varint::put(*codec, out);
                varint::put_signed(skip, out);
                varint::put(groups.len() as u64, out);
                for BlockGroup { blocks, stored, is_packed } in groups {
                    varint::put(*blocks, out);
                    varint::put(u64::from(*stored) << 1 | u64::from(!is_packed), out);
                }
                varint::put(content.start, out);
                varint::put(content.end - content.start, out);
            }
        }
    }
}

/// Where in a body the directory has a part, and which bytes of the old image that wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPlace {
    /// Bytes of the directory that are its.
    pub directory: Range<usize>,
    /// Bytes of the old image, neighbouring ones merged.
    pub stored: Vec<Range<u64>>,
}

impl PartPlace {
    /// Bytes of the old image, at most [`PART_INPUT_MAX`].
    pub fn stored_len(&self) -> usize {
        self.stored.iter().map(|range| (range.end - range.start) as usize).sum()
    }
}

/// Reads a directory: where its codecs are, and each part.
pub(in crate::format::delta) fn places(
    directory: &[u8],
    from_size: u64,
) -> Result<(Range<usize>, Vec<PartPlace>), DirectoryError> {
    let mut reader = Reader::new(directory);
    let at = |reader: &Reader<'_>| directory.len() - reader.rest().len();
    let table = CodecTable::parse(&mut reader)?;
    let codecs = 0..at(&reader);
    let count = reader.number()?;
    if !(1..=PARTS_MAX).contains(&count) {
        return Err(DirectoryError::Parts);
    }
    let mut places = Vec::new();
    let (mut ranges_left, mut blocks_left) = (RANGES_MAX, STORED_MAX / BLOCK as u64);
    for _ in 0..count {
        let start = at(&reader);
        let mut stored: Vec<Range<u64>> = Vec::new();
        let mut total = 0;
        let mut items = ItemReader::new(&mut reader)?;
        while let Some(item) = items.next(&mut reader, &table)? {
            let range = item.stored;
            if range.end > from_size {
                return Err(DirectoryError::Range);
            }
            total += range.end - range.start;
            match stored.last_mut().filter(|last| last.end == range.start) {
                Some(last) => last.end = range.end,
                None => {
                    ranges_left = ranges_left.checked_sub(1).ok_or(DirectoryError::Source)?;
                    stored.push(range);
                }
            }
        }
        let directory = start..at(&reader);
        let input = (codecs.len() + directory.len()) as u64 + total;
        if input > PART_INPUT_MAX as u64 {
            return Err(DirectoryError::Source);
        }
        // A medium is read by whole blocks.
        let block = BLOCK as u64;
        let blocks = stored.iter().map(|range| range.end.div_ceil(block) - range.start / block);
        blocks_left = blocks_left.checked_sub(blocks.sum()).ok_or(DirectoryError::Source)?;
        places.push(PartPlace { directory, stored });
    }
    if reader.rest().is_empty() { Ok((codecs, places)) } else { Err(DirectoryError::End) }
}

/// Reads the items of a part, with no memory.
pub(super) struct ItemReader {
    /// Bytes of content that the part makes.
    pub content: usize,
    left: u64,
    end: u64,
    stored: u64,
    taken: u64,
}

/// An item as its bytes say it.
pub(super) struct RawItem<'a> {
    pub codec: Option<Codec>,
    pub stored: Range<u64>,
    /// The groups of a packed one, that many numbers.
    pub groups: Reader<'a>,
    /// Groups there are.
    pub count: u64,
    /// Bytes of content to leave out, and to take.
    pub content: (u64, u64),
}

impl ItemReader {
    /// Reads what is before the items.
    pub fn new(reader: &mut Reader<'_>) -> Result<Self, DirectoryError> {
        let (content, left) = (reader.number()?, reader.number()?);
        let content = usize::try_from(content).ok();
        let content = content.filter(|content| (1..=PART_MAX).contains(content));
        let content = content.ok_or(DirectoryError::Part)?;
        Ok(Self { content, left, end: 0, stored: 0, taken: 0 })
    }

    /// The next item. Together they are no longer than a part's source may be, stored and unpacked.
    pub fn next<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        table: &CodecTable,
    ) -> Result<Option<RawItem<'a>>, DirectoryError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let codec = table.get(reader.number()?)?;
        let start = self.end.checked_add_signed(reader.signed()?).ok_or(DirectoryError::Range)?;
        let mut stored = 0u64;
        let (groups, mut count) = (Reader::new(reader.rest()), 0);
        let content = match codec {
            None => {
                stored = reader.number()?;
                (0, stored)
            }
            Some(_) => {
                count = reader.number()?;
                for _ in 0..count {
                    let (blocks, len) = (reader.number()?, reader.number()? >> 1);
                    if blocks == 0 || len == 0 || len > BLOCK_MAX as u64 + 2 {
                        return Err(DirectoryError::Range);
                    }
                    let len = blocks.checked_mul(len).ok_or(DirectoryError::Source)?;
                    stored = stored.checked_add(len).ok_or(DirectoryError::Source)?;
                }
                let (skip, len) = (reader.number()?, reader.number()?);
                // It begins in the first block, or in the zeroes behind the last.
                if skip > (BLOCK_MAX + BLOCK) as u64 {
                    return Err(DirectoryError::Range);
                }
                (skip, len)
            }
        };
        let end = start.checked_add(stored).ok_or(DirectoryError::Range)?;
        if stored == 0 || content.1 == 0 {
            return Err(DirectoryError::Range);
        }
        self.end = end;
        let add = |sum: u64, len: u64, max: usize| {
            sum.checked_add(len).filter(|sum| *sum <= max as u64).ok_or(DirectoryError::Source)
        };
        self.stored = add(self.stored, stored, PART_INPUT_MAX)?;
        self.taken = add(self.taken, content.1, PART_SOURCE_MAX)?;
        Ok(Some(RawItem { codec, stored: start..end, groups, count, content }))
    }
}

#[cfg(test)]
mod tests;
