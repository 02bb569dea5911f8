//! Making a repacked segment, part by part, with no memory beyond what was there before.

use super::super::adjust::Adjuster;
use super::super::codec::{Codec, CodecError, Coder};
use super::super::patch::{self, PatchError, Streams};
use super::super::varint::{Reader, VarintError};
use super::directory::{CodecTable, DirectoryError, ItemReader, RawItem};
use super::streams::STREAMS;
use super::{BLOCK_MAX, PART_MAX, PART_SOURCE_MAX, PARTS_MAX};

/// A repacked segment that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepackError {
    /// A number cannot be read.
    #[error("how it is packed is damaged: {0}")]
    Number(#[from] VarintError),
    /// What it is made of is refused.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A block cannot be unpacked or packed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A part's content cannot be made.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// Blocks hold other content than they are said to.
    #[error("the blocks that it is made of have another length than their directory says")]
    Source,
    /// Streams that are not as long as they are said to be, or parts in another order.
    #[error("it has other streams than its parts need")]
    Streams,
    /// The parts make more or less than the segment.
    #[error("its parts do not make the whole segment")]
    Incomplete,
}

/// Makes repacked segments.
pub(in crate::format::delta) struct Repacker {
    coder: Coder,
    /// What a part is made of, unpacked.
    source: Vec<u8>,
    /// What a part makes, before it is packed.
    content: Vec<u8>,
    /// A block, unpacked or packed.
    block: Vec<u8>,
    segment: Progress,
}

/// How far a segment is.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Parts still to come.
    parts: u64,
    /// Where the next part's lengths are in the streams.
    lengths: usize,
    /// Where its streams begin.
    streams: [usize; STREAMS],
    /// Bytes of packed blocks that lie before the segment.
    lead: usize,
    /// Bytes of the segment so far.
    made: usize,
}

impl Repacker {
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self {
            coder: Coder::new()?,
            source: vec![0; PART_SOURCE_MAX],
            content: vec![0; PART_MAX],
            // As much as a block that does not get smaller takes, whatever the codec.
            block: vec![0; BLOCK_MAX + BLOCK_MAX / 64 + 4096],
            segment: Progress::default(),
        })
    }

    /// Leaves the segment that was begun last, if any was.
    pub fn end(&mut self) {
        self.segment = Progress::default();
    }

    /// Begins a segment that has these streams.
    pub fn begin(&mut self, streams: &[u8]) -> Result<(), RepackError> {
        self.end();
        let mut reader = Reader::new(streams);
        let (lead, parts) = (reader.number()?, reader.number()?);
        let lead = usize::try_from(lead).ok().filter(|lead| *lead <= self.block.len());
        if parts > PARTS_MAX {
            return Err(RepackError::Streams);
        }
        let at = |reader: &Reader<'_>| streams.len() - reader.rest().len();
        let lengths = at(&reader);
        let mut sums = [0usize; STREAMS];
        for _ in 0..parts {
            for sum in &mut sums {
                let len = usize::try_from(reader.number()?).ok();
                let all = len.and_then(|len| sum.checked_add(len));
                *sum = all.filter(|all| *all <= streams.len()).ok_or(RepackError::Streams)?;
            }
        }
        let mut end = at(&reader);
        let streams_at = sums.map(|sum| {
            let start = end;
            end = end.saturating_add(sum);
            start
        });
        if end != streams.len() {
            return Err(RepackError::Streams);
        }
        let lead = lead.ok_or(RepackError::Streams)?;
        self.segment = Progress { parts, lengths, streams: streams_at, lead, made: 0 };
        Ok(())
    }

    /// Makes the next part from `input`, its directory with the codecs before it (`directory_len`
    /// bytes) and what is stored, and the segment's streams; it is packed to where the one before
    /// ended. The last one fills the segment.
    pub fn part(
        &mut self,
        adjuster: &mut Adjuster,
        streams: &[u8],
        (input, directory_len): (&[u8], usize),
        segment: &mut [u8],
    ) -> Result<(), RepackError> {
        let [adjust, control, difference, packing, fresh] = self.next_streams(streams)?;
        let split = input.split_at_checked(directory_len);
        let (directory, stored) = split.ok_or(RepackError::Source)?;
        let mut reader = Reader::new(directory);
        let table = CodecTable::parse(&mut reader)?;
        let mut items = ItemReader::new(&mut reader)?;
        let source_len = self.unpack(&mut items, &mut reader, &table, stored)?;
        let content = &mut self.content[..items.content];
        let source = &mut self.source[..source_len];
        patch::apply(Streams { adjust, control, difference, fresh }, adjuster, source, content)?;
        self.pack(items.content, packing, &table, segment)?;
        let is_whole = self.segment.made == segment.len() && self.segment.lead == 0;
        if self.segment.parts == 0 && !is_whole { Err(RepackError::Incomplete) } else { Ok(()) }
    }

    /// Whether every part was made.
    pub fn is_complete(&self) -> bool {
        self.segment.parts == 0
    }

    fn next_streams<'a>(&mut self, streams: &'a [u8]) -> Result<[&'a [u8]; STREAMS], RepackError> {
        let segment = &mut self.segment;
        segment.parts = segment.parts.checked_sub(1).ok_or(RepackError::Streams)?;
        let mut reader = Reader::new(streams.get(segment.lengths..).unwrap_or_default());
        let before = reader.rest().len();
        let mut found = [&[][..]; STREAMS];
        for (found, start) in found.iter_mut().zip(&mut segment.streams) {
            // Looked at when the segment began, and never written to since.
            let len = usize::try_from(reader.number()?).map_err(|_| RepackError::Streams)?;
            let end = start.checked_add(len).ok_or(RepackError::Streams)?;
            *found = streams.get(*start..end).ok_or(RepackError::Streams)?;
            *start = end;
        }
        segment.lengths += before - reader.rest().len();
        Ok(found)
    }

    /// Unpacks what a part is made of; how much that is.
    fn unpack(
        &mut self,
        items: &mut ItemReader,
        reader: &mut Reader<'_>,
        table: &CodecTable,
        mut stored: &[u8],
    ) -> Result<usize, RepackError> {
        let mut source_len = 0;
        while let Some(item) = items.next(reader, table)? {
            // Both are bounded where items are read.
            let (len, taken) = (item.stored.end - item.stored.start, item.content.1 as usize);
            let split = stored.split_at_checked(len as usize).ok_or(RepackError::Source)?;
            let (bytes, rest) = split;
            stored = rest;
            let place = self.source.get_mut(source_len..source_len + taken);
            let place = place.ok_or(RepackError::Source)?;
            source_len += taken;
            match item.codec {
                None => place.copy_from_slice(bytes),
                Some(codec) => {
                    unpack_blocks(&mut self.coder, &mut self.block, codec, item, bytes, place)?;
                }
            }
        }
        if stored.is_empty() && reader.rest().is_empty() {
            Ok(source_len)
        } else {
            Err(RepackError::Source)
        }
    }

    /// Packs the first bytes of the content, and adds them to the segment.
    fn pack(
        &mut self,
        content_len: usize,
        packing: &[u8],
        table: &CodecTable,
        segment: &mut [u8],
    ) -> Result<(), RepackError> {
        let mut content = &self.content[..content_len];
        let mut packing = Reader::new(packing);
        let take = |content: &mut &[u8], len: u64| {
            let len = usize::try_from(len).ok();
            let split = len.and_then(|len| content.split_at_checked(len));
            let (taken, rest) = split.ok_or(RepackError::Incomplete)?;
            let taken = taken.len();
            *content = rest;
            Ok::<_, RepackError>(taken)
        };
        while !content.is_empty() {
            take(&mut content, packing.number()?)?;
            if content.is_empty() {
                break;
            }
            let (codec, len) = (table.get(packing.number()?)?, packing.number()?);
            let before = content;
            let len = take(&mut content, len)?;
            let mut bytes = &before[..len];
            let Some(codec) = codec else {
                self.segment.add(bytes, segment)?;
                continue;
            };
            while !bytes.is_empty() {
                let (used, stored) =
                    self.coder.encode(codec, bytes, &mut packing, &mut self.block)?;
                let rest = bytes.get(used..).filter(|_| used > 0).ok_or(RepackError::Incomplete)?;
                let block = self.block.get(..stored).ok_or(RepackError::Incomplete)?;
                self.segment.add(block, segment)?;
                bytes = rest;
            }
        }
        if packing.rest().is_empty() { Ok(()) } else { Err(RepackError::Streams) }
    }
}

impl Progress {
    /// Adds what is of the segment: not what lies before it, and of its last block not what is behind.
    fn add(&mut self, bytes: &[u8], segment: &mut [u8]) -> Result<(), RepackError> {
        let before = self.lead.min(bytes.len());
        self.lead -= before;
        let bytes = &bytes[before..];
        let room = segment.get_mut(self.made..).unwrap_or_default();
        if room.is_empty() && !bytes.is_empty() {
            return Err(RepackError::Incomplete);
        }
        let len = bytes.len().min(room.len());
        room[..len].copy_from_slice(&bytes[..len]);
        self.made += len;
        Ok(())
    }
}

/// Unpacks blocks, and writes what is wanted of their content to `place`.
fn unpack_blocks(
    coder: &mut Coder,
    block: &mut [u8],
    codec: Codec,
    mut item: RawItem<'_>,
    mut stored: &[u8],
    place: &mut [u8],
) -> Result<(), RepackError> {
    // Numbers of its groups were read once already.
    let (mut skip, mut made) = (item.content.0, 0);
    let count = item.groups.number()?;
    debug_assert_eq!(count, item.count);
    for _ in 0..item.count {
        let (blocks, number) = (item.groups.number()?, item.groups.number()?);
        let (len, is_packed) = ((number >> 1) as usize, number & 1 == 0);
        for _ in 0..blocks {
            // Nothing is unpacked that is not wanted.
            if made == place.len() {
                return Err(RepackError::Source);
            }
            let (bytes, rest) = stored.split_at_checked(len).ok_or(RepackError::Source)?;
            stored = rest;
            let content = match is_packed {
                true => {
                    let len = coder.decode(codec, bytes, block)?;
                    block.get(..len).ok_or(RepackError::Source)?
                }
                false => bytes,
            };
            let behind = usize::try_from(skip).ok().and_then(|skip| content.get(skip..));
            skip = skip.saturating_sub(content.len() as u64);
            let behind = behind.unwrap_or_default();
            let len = behind.len().min(place.len() - made);
            place[made..made + len].copy_from_slice(&behind[..len]);
            made += len;
        }
    }
    place[made..].fill(0);
    Ok(())
}

#[cfg(test)]
mod tests;
