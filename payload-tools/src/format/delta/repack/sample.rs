//! A repacked segment made by hand, for the tests of who makes one.

use std::ops::Range;

use super::super::codec::{Codec, Coder, fix_up};
use super::super::patch::Step;
use super::super::varint::Reader;
use super::super::{Body, SourceSum};
use super::*;
use crate::format::seekable::FrameEncoder;
use crate::testing::noise;

pub(crate) const SQUASHFS: [Codec; 2] = [zstd(3, false), zstd(5, false)];
pub(crate) const METADATA: [Codec; 2] = [zstd(3, true), zstd(5, true)];
pub(crate) const EROFS: [Codec; 2] =
    [Codec::Lz4 { level: 9, stored: 4096 }, Codec::Lz4 { level: 0, stored: 8192 }];
pub(crate) const ALL: [[Codec; 2]; 3] = [SQUASHFS, METADATA, EROFS];

const fn zstd(level: u8, headed: bool) -> Codec {
    Codec::Zstd { level, content: 8192, headed }
}

/// Bytes of the first block before the segment, and of the last one behind it.
const LEAD: usize = 5;
const BEHIND: usize = 7;
/// Where the old image's blocks begin, behind plain bytes.
const RUN_AT: usize = 1000;
/// Bytes of a block that is stored as it is.
const RAW: usize = 4096;

/// Two parts: blocks of the old image with one that is not packed among them, and plain bytes.
pub(crate) struct Sample {
    pub old: Vec<u8>,
    pub directory: Directory,
    pub parts: Vec<PackedPart>,
    /// What both make.
    pub segment: Vec<u8>,
}

/// What becomes of a stored block that an encoder made.
#[derive(Clone, Copy)]
enum Block {
    Own,
    /// Another encoder would have made another byte.
    Flipped,
    /// As it is, so many bytes.
    Plain(usize),
}

/// Words that come again in another order.
fn text(seed: u64, len: usize) -> Vec<u8> {
    let words = [&b"root:"[..], b"/usr/lib", b"systemd ", b"0x7f", b"\n", b"seesaw", b"slots "];
    let picks = noise(seed, len);
    picks
        .iter()
        .flat_map(|pick| words[usize::from(*pick) % words.len()])
        .copied()
        .take(len)
        .collect()
}

fn blocks(
    coder: &mut Coder,
    codec: Codec,
    mut content: &[u8],
    kind: &dyn Fn(usize) -> Block,
) -> Vec<(usize, Vec<u8>)> {
    let (mut found, mut out) = (Vec::new(), vec![0; 1 << 16]);
    while !content.is_empty() {
        let kind = kind(found.len());
        let fix: &[u8] = match kind {
            Block::Own | Block::Flipped => &[0],
            // As LEB128.
            Block::Plain(len) => &[1, len as u8 | 0x80, (len >> 7) as u8],
        };
        let (used, len) = coder.encode(codec, content, &mut Reader::new(fix), &mut out).unwrap();
        let mut stored = out[..len].to_vec();
        if let Block::Flipped = kind {
            stored[len - 9] ^= 4;
        }
        found.push((used, stored));
        content = &content[used..];
    }
    found
}

/// Adds to a packing a run of all of `content`; its blocks as they are stored.
fn pack_run(
    coder: &mut Coder,
    (packing, skip): (&mut Packing, usize),
    codec: Codec,
    content: &[u8],
    kind: &dyn Fn(usize) -> Block,
) -> Vec<u8> {
    packing.push(skip, 2, content.len());
    let (mut stored, mut left) = (Vec::new(), content);
    for (used, block) in blocks(coder, codec, content, kind) {
        packing.fix_up(&fix_up(coder, codec, left, used, &block));
        left = &left[used..];
        stored.extend(block);
    }
    stored
}

impl Sample {
    /// Old blocks are of the first codec, new ones of the second.
    pub fn of([was, is]: [Codec; 2]) -> Self {
        let mut coder = Coder::new().unwrap();
        let mut old = noise(3, RUN_AT);
        let (mut groups, mut held) = (Vec::new(), Vec::new());
        let content = text(1, 60_000);
        let mut left = &content[..];
        for (at, (used, block)) in blocks(&mut coder, was, left, &|_| Block::Own).iter().enumerate()
        {
            if at == 3 {
                break;
            }
            if at == 2 {
                let raw = noise(5, RAW);
                groups.push(BlockGroup { blocks: 1, stored: RAW as u32, is_packed: false });
                old.extend(&raw);
                held.extend(raw);
            }
            groups.push(BlockGroup { blocks: 1, stored: block.len() as u32, is_packed: true });
            old.extend(block);
            held.extend(&left[..*used]);
            left = &left[*used..];
        }
        // LZ4's take as many bytes each.
        groups.dedup_by(|next, group| {
            let is_alike = (next.stored, next.is_packed) == (group.stored, group.is_packed);
            group.blocks += if is_alike { next.blocks } else { 0 };
            is_alike
        });
        let padded = held.len() as u64 + 50;
        let unpacked =
            Item::Packed { codec: 1, start: RUN_AT as u64, groups, content: 100..padded };
        let items = vec![unpacked, Item::Stored(0..30), Item::Stored(30..60)];
        let source = [&held[100..], &[0; 50], &old[..60]].concat();
        let (first, mut segment) = Self::first(&mut coder, is, &source);
        let parts = vec![
            PartDirectory { content: source.len() + 10, items },
            PartDirectory { content: 9400, items: vec![Item::Stored(500..900)] },
        ];
        let (second, rest) = Self::second(&mut coder, is, &old[500..900]);
        segment.extend(rest);
        segment.drain(..LEAD);
        segment.truncate(segment.len() - BEHIND);
        old.resize(old.len().next_multiple_of(4096), 0);
        let directory = Directory { codecs: vec![was, is], parts };
        Self { old, directory, parts: vec![first, second], segment }
    }

    /// A run with a block that needs a fix-up, plain bytes between, and a run to the end but for a few.
    fn first(coder: &mut Coder, codec: Codec, source: &[u8]) -> (PackedPart, Vec<u8>) {
        let mut content = source.to_vec();
        content.iter_mut().step_by(997).for_each(|byte| *byte = byte.wrapping_add(1));
        content.extend(b"ten more b");
        let (half, end) = (content.len() / 2, content.len() - 4);
        let mut packing = Packing::default();
        let one_flipped = |at| if at == 1 { Block::Flipped } else { Block::Own };
        let mut stored = pack_run(coder, (&mut packing, 0), codec, &content[..half], &one_flipped);
        packing.push(11, 0, 37);
        stored.extend(&content[half + 11..][..37]);
        let one_plain = |at| if at == 0 { Block::Plain(3000) } else { Block::Own };
        let run = &content[half + 48..end];
        stored.extend(pack_run(coder, (&mut packing, 0), codec, run, &one_plain));
        packing.end(4);
        let steps = [Step { old: 0, same: source.len(), fresh: 10 }];
        (PackedPart::new(Vec::new(), (&steps, source, &content), packing), stored)
    }

    /// Plain bytes, and a run to the end.
    fn second(coder: &mut Coder, codec: Codec, source: &[u8]) -> (PackedPart, Vec<u8>) {
        let content = [source, &text(9, 9000)].concat();
        let mut packing = Packing::default();
        packing.push(0, 0, 100);
        let own = |_| Block::Own;
        let run = pack_run(coder, (&mut packing, 0), codec, &content[100..], &own);
        let steps = [Step { old: 0, same: source.len(), fresh: 9000 }];
        let part = PackedPart::new(Vec::new(), (&steps, source, &content), packing);
        (part, [&content[..100], &run].concat())
    }

    pub fn streams(&self) -> Vec<u8> {
        encode_streams(LEAD, &self.parts)
    }

    /// For each part its directory with the codecs before it, how long that is, and what is stored.
    pub fn inputs(&self) -> Vec<(Vec<u8>, usize)> {
        let directory = self.directory.encode();
        let (codecs, places) = places(&directory, self.old.len() as u64).unwrap();
        let input = |place: &PartPlace| {
            let head = [&directory[codecs.clone()], &directory[place.directory.clone()]].concat();
            let ranges = place.stored.iter();
            let stored =
                ranges.flat_map(|range| &self.old[range.start as usize..range.end as usize]);
            (head.iter().chain(stored).copied().collect(), head.len())
        };
        places.iter().map(input).collect()
    }

    /// What all parts are made of.
    pub fn stored(&self) -> Vec<u8> {
        let stored = |range: Range<u64>| &self.old[range.start as usize..range.end as usize];
        self.directory.stored().into_iter().flat_map(stored).copied().collect()
    }

    /// The streams as a frame.
    pub fn payload(&self) -> Vec<u8> {
        FrameEncoder::new(3).unwrap().encode(&self.streams()).unwrap()
    }

    pub fn body(&self) -> Vec<u8> {
        let (directory, sum) = (self.directory.encode(), SourceSum::of(&self.stored()));
        Body::encode_repack(&directory, sum, self.streams().len() as u32, &self.payload())
    }
}
