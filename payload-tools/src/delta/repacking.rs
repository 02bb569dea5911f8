//! Segments with packed blocks: cut into parts that are made of what blocks of the old image hold.

mod draft;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::ops::Range;

use super::adjusting::adjustment;
use super::files::ImageFile;
use super::index::block_hash;
use super::objects::MovedObject;
use super::segment::{Known, adjusted};
use super::sources;
use super::steps::{Part, steps};
use super::view::{Unit, View};
use crate::ReadAt;
use crate::format::BLOCK;
use crate::format::delta::adjust::Adjuster;
use crate::format::delta::codec::{Codec, Coder, fix_up};
use crate::format::delta::repack::{
    Directory, Item, PART_INPUT_MAX, PART_MAX, PART_SOURCE_MAX, PackedPart, Packing, PartDirectory,
    encode_streams,
};
use crate::format::delta::{STREAMS_MAX, SourceSum};

use draft::{Draft, Is, Piece, room};

/// Bytes of a part's input that its directory may take.
const DIRECTORY_ROOM: usize = 64 << 10;
/// Most bytes of content of a part, and of what it is made of: half of what a part may have, so that a
/// device with two decoders stays below 64 MiB.
const CONTENT_LEN: usize = PART_MAX / 2;
const SOURCE_LEN: usize = PART_SOURCE_MAX / 2;

/// Content that a segment is taken apart to at most. Where its blocks hold 64 times as much as they take
/// there is little to save, and all of it is in memory at once.
const CONTENT_MAX: usize = 64 * CONTENT_LEN;

/// Where the old image has each of its blocks, by what is stored.
#[derive(Debug, Default)]
pub(super) struct StoredBlocks {
    by_hash: HashMap<u64, u64>,
}

impl StoredBlocks {
    /// Reads the packed blocks of a view of the image, and if there are any the others too.
    pub fn of(view: &View<'_>, image: &dyn ReadAt, size: u64) -> io::Result<Self> {
        let mut by_hash = HashMap::new();
        let mut bytes = Vec::new();
        let units = if view.is_packed() { view.units(&(0..size)) } else { Vec::new() };
        for block in units.into_iter().flat_map(Unit::blocks) {
            bytes.resize((block.end - block.start) as usize, 0);
            image.fill_at(&mut bytes, block.start)?;
            by_hash.entry(block_hash(&bytes)).or_insert(block.start);
        }
        Ok(Self { by_hash })
    }

    /// Whether there is such a block, or one that is hard to tell from it.
    pub fn may_have(&self, block: &[u8]) -> bool {
        self.by_hash.contains_key(&block_hash(block))
    }
}

/// A segment before its streams are compressed.
pub(super) struct Repacked {
    pub directory: Vec<u8>,
    /// What its parts are made of, one behind the other.
    pub stored: Vec<u8>,
    pub sum: SourceSum,
    pub streams: Vec<u8>,
}

/// Makes the parts of segments.
pub(super) struct Packer<'a> {
    old: &'a dyn ReadAt,
    new: &'a dyn ReadAt,
    old_size: u64,
    known: &'a Known<'a>,
    codecs: Vec<Codec>,
    coder: Coder,
}

impl<'a> Packer<'a> {
    pub fn new(
        (old, old_size): (&'a dyn ReadAt, u64),
        new: &'a dyn ReadAt,
        known: &'a Known<'a>,
    ) -> io::Result<Self> {
        let mut codecs = [known.old.codecs(), known.new.codecs()].concat();
        codecs.sort_unstable();
        codecs.dedup();
        let coder = Coder::new().map_err(io::Error::other)?;
        Ok(Self { old, new, old_size, known, codecs, coder })
    }

    /// The ranges of the old image that have all of a segment's bytes, packed as they are, if they are
    /// whole blocks there.
    pub fn same(&self, range: &Range<u64>) -> io::Result<Option<Vec<Range<u64>>>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for unit in self.known.new.units(range) {
            let Unit::Packed { stored, .. } = unit else { return Ok(None) };
            let wished = ranges.last().map(|last| last.end);
            let Some(old) = self.same_block(&stored, range, wished)? else { return Ok(None) };
            match ranges.last_mut().filter(|last| last.end == old.start) {
                Some(last) => last.end = old.end,
                None => ranges.push(old),
            }
        }
        let is_whole = |range: &Range<u64>| {
            [range.start, range.end].iter().all(|at| at.is_multiple_of(BLOCK as u64))
        };
        Ok(ranges.iter().all(is_whole).then_some(ranges).filter(|ranges| !ranges.is_empty()))
    }

    /// Where the old image has what a block has within a segment, if it has the whole block.
    fn same_block(
        &self,
        block: &Range<u64>,
        segment: &Range<u64>,
        wished: Option<u64>,
    ) -> io::Result<Option<Range<u64>>> {
        let len = (block.end - block.start) as usize;
        let mut is = vec![0; len];
        self.new.fill_at(&mut is, block.start)?;
        let by_hash = self.known.stored.by_hash.get(&block_hash(&is)).copied();
        let mut was = vec![0; len];
        for start in wished.into_iter().chain(by_hash) {
            let Some(end) = start.checked_add(len as u64).filter(|end| *end <= self.old_size)
            else {
                continue;
            };
            self.old.fill_at(&mut was, start)?;
            if was == is {
                let before = segment.start.saturating_sub(block.start);
                let behind = block.end.saturating_sub(segment.end);
                return Ok(Some(start + before..end - behind));
            }
        }
        Ok(None)
    }

    /// Makes the parts of a segment; `None` if they are more than a device takes.
    pub fn repack(
        &mut self,
        adjuster: &mut Adjuster,
        range: &Range<u64>,
    ) -> io::Result<Option<Repacked>> {
        let Some((lead, drafts)) = self.drafts(range)? else { return Ok(None) };
        let mut directory = Directory { codecs: self.codecs.clone(), parts: Vec::new() };
        let mut parts = Vec::new();
        for draft in &drafts {
            let Some((of_part, packed)) = self.part(adjuster, draft)? else { return Ok(None) };
            directory.parts.push(of_part);
            parts.push(packed);
        }
        let streams = encode_streams(lead, &parts);
        if streams.len() > STREAMS_MAX {
            return Ok(None);
        }
        let mut stored = Vec::new();
        for range in directory.stored() {
            let at = stored.len();
            stored.resize(at + (range.end - range.start) as usize, 0);
            self.old.fill_at(&mut stored[at..], range.start)?;
        }
        let sum = SourceSum::of(&stored);
        Ok(Some(Repacked { directory: directory.encode(), stored, sum, streams }))
    }

    /// Cuts a segment into parts; what its first block has before it.
    fn drafts(&self, range: &Range<u64>) -> io::Result<Option<(usize, Vec<Draft>)>> {
        let (mut lead, mut drafts) = (0, vec![Draft::default()]);
        let mut wished = None;
        for unit in self.known.new.units(range) {
            match unit {
                Unit::Plain { content, .. } => {
                    let mut start = content.start;
                    while start < content.end {
                        let draft = room(&mut drafts, 1);
                        let left = (CONTENT_LEN - draft.content.len()) as u64;
                        let end = content.end.min(start + left);
                        draft.plain(&self.known.new, start..end)?;
                        start = end;
                    }
                }
                Unit::Packed { codec, stored, content } => {
                    if let Some(old) = self.same_block(&stored, range, wished)? {
                        wished = Some(old.end);
                        let start = stored.start.max(range.start);
                        let bytes = start..start + (old.end - old.start);
                        let draft = room(&mut drafts, (old.end - old.start) as usize);
                        draft.same(self.new, bytes, old.start)?;
                        continue;
                    }
                    let len = (content.end - content.start) as usize;
                    if drafts.len() * CONTENT_LEN > CONTENT_MAX || len > CONTENT_LEN {
                        return Ok(None);
                    }
                    if stored.start < range.start {
                        lead = (range.start - stored.start) as usize;
                    }
                    let mut block = vec![0; (stored.end - stored.start) as usize];
                    self.new.fill_at(&mut block, stored.start)?;
                    room(&mut drafts, len).packed(&self.known.new, codec, content, block)?;
                }
            }
        }
        Ok(Some((lead, drafts)))
    }

    fn part(
        &mut self,
        adjuster: &mut Adjuster,
        draft: &Draft,
    ) -> io::Result<Option<(PartDirectory, PackedPart)>> {
        let same: usize = draft.pieces.iter().filter_map(Piece::same_len).sum();
        let (ranges, continued, mut parts) = self.source(draft, same);
        let codecs = self.codecs.clone();
        let number = |codec: Codec| {
            codecs.iter().position(|known| *known == codec).map_or(0, |at| at as u64 + 1)
        };
        let old = &self.known.old;
        let mut items: Vec<Item> = Vec::new();
        let mut source = Vec::new();
        for range in &ranges {
            items.extend(old.items(range, &number));
            let at = source.len();
            source.resize(at + (range.end - range.start) as usize, 0);
            old.fill_at(&mut source[at..], range.start)?;
        }
        let unpacked = source.len();
        for piece in &draft.pieces {
            if let Is::Same(start) = piece.is {
                let bytes = &draft.content[piece.content.clone()];
                parts.push(Part {
                    old: source.len()..source.len() + bytes.len(),
                    new: piece.content.clone(),
                });
                source.extend(bytes);
                items.push(Item::Stored(start..start + bytes.len() as u64));
            }
        }
        parts.sort_by_key(|part| part.new.start);
        let stored: u64 = items.iter().map(|item| item.stored().end - item.stored().start).sum();
        if stored as usize > PART_INPUT_MAX - DIRECTORY_ROOM || source.len() > PART_SOURCE_MAX {
            return Ok(None);
        }
        let Known { files, objects, .. } = self.known;
        let continued: Vec<(&ImageFile, &MovedObject)> = continued
            .iter()
            .filter_map(|index| Some((&files.get(*index).old, objects.all.get(index)?)))
            .collect();
        let adjust = adjustment(objects, &continued, &ranges, &source[..unpacked]).encode();
        let (adjust, adjusted) = adjusted(adjuster, adjust, &source);
        let steps = steps(&adjusted, &draft.content, &parts);
        let packing = self.packing(draft, &number);
        let packed = PackedPart::new(adjust, (&steps, &adjusted, &draft.content), packing);
        Ok(Some((PartDirectory { content: draft.content.len(), items }, packed)))
    }

    /// What of the old view a part is made of, beside blocks that stay as they are, which files go on
    /// in it, and where.
    fn source(&self, draft: &Draft, same: usize) -> (Vec<Range<u64>>, BTreeSet<usize>, Vec<Part>) {
        let Known { files, index, old, .. } = self.known;
        let (mut wanted, mut places) = (Vec::new(), Vec::new());
        let mut unpacked = Vec::new();
        for piece in &draft.pieces {
            let Some(view) = piece.view() else { continue };
            unpacked.extend_from_slice(&draft.content[piece.content.clone()]);
            for (image, file) in files.within(&view) {
                let at = piece.content.start + (image.start - view.start) as usize;
                let new = at..at + (image.end - image.start) as usize;
                let old = files.get(file).continued(&image);
                wanted.extend(old.clone());
                places.push((file, new, old));
            }
        }
        let mut room = SOURCE_LEN.saturating_sub(same);
        let ranges = loop {
            let ranges = sources::alike(&unpacked, index, (old.size(), room), &wanted);
            let stored = ranges.iter().flat_map(|range| old.stored(range));
            let input = stored.map(|range| range.end - range.start).sum::<u64>() as usize + same;
            if input <= PART_INPUT_MAX - DIRECTORY_ROOM || ranges.is_empty() {
                break ranges;
            }
            // Few bytes of many blocks: the best ones only.
            room /= 2;
        };
        let (mut continued, mut parts) = (BTreeSet::new(), Vec::new());
        for (file, new, old) in places {
            let old = old.and_then(|old| sources::find(&ranges, &old));
            parts.extend(old.map(|old| Part { old, new }));
            continued.insert(file);
        }
        (ranges, continued, parts)
    }

    fn packing(&mut self, draft: &Draft, number: &dyn Fn(Codec) -> u64) -> Packing {
        let mut packing = Packing::default();
        let mut plain = 0;
        for piece in &draft.pieces {
            let Is::Packed { codec, blocks, .. } = &piece.is else {
                plain += piece.content.len();
                continue;
            };
            if plain > 0 {
                packing.push(0, 0, plain);
                plain = 0;
            }
            packing.push(0, number(*codec), piece.content.len());
            let mut content = &draft.content[piece.content.clone()];
            for (used, stored) in blocks {
                packing.fix_up(&fix_up(&mut self.coder, *codec, content, *used, stored));
                content = &content[*used..];
            }
        }
        if plain > 0 {
            packing.push(0, 0, plain);
        }
        packing
    }
}
