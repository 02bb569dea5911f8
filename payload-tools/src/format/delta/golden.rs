//! One delta with a segment of each kind, as its bytes were when the format was settled.

use super::codec::Codec;
use super::repack::{BlockGroup, Directory, Item, PartDirectory};
use super::*;
use crate::format::Hash;

const GOLDEN: &[u8] = include_bytes!("fixtures/every-kind.delta");
const PLAIN_LEN: usize = 8 * BLOCK;
const OLD_LEN: usize = 10 * BLOCK;
const NEW_LEN: u64 = 5 * SEGMENT as u64 + BLOCK as u64;

/// A frame of 4096 times z.
const FRAME: [u8; 11] = [0x28, 0xB5, 0x2F, 0xFD, 0x60, 0x00, 0x0F, 0x03, 0x80, 0x00, b'z'];
const CODECS: [Codec; 2] = [
    Codec::Zstd { level: 15, content: 4096, headed: false },
    Codec::Lz4 { level: 9, stored: 4096 },
];
/// Bytes of the repacked segment's first frame before it, and of the last one behind it.
const LEAD: usize = 3;
const BEHIND: usize = 2;

/// A cluster of LZ4.
fn cluster(coded: &[u8]) -> Vec<u8> {
    [&vec![0; BLOCK - coded.len()], coded].concat()
}

/// Plain bytes, a frame with other bytes behind it, a cluster of 50 times l.
fn old() -> Vec<u8> {
    let mut old: Vec<u8> = (0..PLAIN_LEN).map(|at| (at % 251) as u8).collect();
    old.extend(FRAME);
    old.resize(PLAIN_LEN + BLOCK, b'=');
    // One literal, 44 bytes like the one before, five literals.
    old.extend(cluster(b"\x1Fl\x01\x00\x19\x50lllll"));
    old
}

/// What the repacked segment is made of.
fn directory() -> Directory {
    let (frame, stored) = (PLAIN_LEN as u64, BLOCK as u32);
    let group = |stored, is_packed| BlockGroup { blocks: 1, stored, is_packed };
    let packed = |codec, start, groups, content| Item::Packed { codec, start, groups, content };
    let items = vec![
        // The frame, and bytes behind it as a block that is not packed.
        packed(1, frame, vec![group(11, true), group(89, false)], 96..4296),
        packed(2, frame + BLOCK as u64, vec![group(stored, true)], 0..50),
        Item::Stored(5..15),
    ];
    let first = PartDirectory { content: contents()[0].len(), items };
    let second = PartDirectory { content: contents()[1].len(), items: vec![Item::Stored(0..4096)] };
    Directory { codecs: CODECS.to_vec(), parts: vec![first, second] }
}

/// What the parts of the repacked segment hold before they are packed.
fn contents() -> [Vec<u8>; 2] {
    let old = old();
    let first =
        [&[b'z'; 4000][..], &[b'='; 89], &[0; 111], &[b'L'; 50], &old[5..15], b"new"].concat();
    let stored = blocks(&first).concat().len() + 10 + frame(&old[..BLOCK]).len();
    let fresh = vec![b'r'; SEGMENT + LEAD + BEHIND - stored];
    [first, [&fresh, &old[..BLOCK]].concat()]
}

fn frame(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, 15).unwrap()
}

/// The packed blocks of the first part: a frame, 104 bytes as they are, and a cluster as no encoder here
/// makes it, of literals only.
fn blocks(first: &[u8]) -> [Vec<u8>; 3] {
    let coded = [&[0xF0, 35], &first[4200..4250]].concat();
    [frame(&first[..4096]), first[4096..4200].to_vec(), cluster(&coded)]
}

fn repacked() -> Vec<u8> {
    let [first, second] = contents();
    let (fresh, last) = second.split_at(second.len() - BLOCK);
    let segment = [&blocks(&first).concat(), &first[4253..], fresh, &frame(last)].concat();
    segment[LEAD..segment.len() - BEHIND].to_vec()
}

/// The address in the source of the patch.
fn address(old: &[u8]) -> u64 {
    u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|n| old[BLOCK + 32 + n]))
}

/// What the delta makes, segment by segment.
fn new() -> Vec<Vec<u8>> {
    let old = old();
    let filled = |start: &[u8], byte| [start, &vec![byte; SEGMENT - start.len()]].concat();
    let mut plus_one: Vec<u8> =
        old[BLOCK..3 * BLOCK].iter().map(|byte| byte.wrapping_add(1)).collect();
    // The name of the symbol at 8 moved by 300, and is no difference, and so did the address behind it.
    plus_one[8..12].copy_from_slice(
        &(u32::from_le_bytes([0, 1, 2, 3].map(|n| old[BLOCK + 8 + n])) + 300).to_le_bytes(),
    );
    plus_one[32..40].copy_from_slice(&(address(&old) + 300).to_le_bytes());
    vec![
        vec![0; SEGMENT],
        filled(b"alone", b'a'),
        filled(&old[..PLAIN_LEN], b'p'),
        filled(&plus_one, b'n'),
        repacked(),
        old[3 * BLOCK..4 * BLOCK].to_vec(),
    ]
}

/// Read, and written again from what was read: both have to be as they were.
#[test]
fn the_bytes_of_a_delta_are_as_they_were() {
    let (old, head_len) = (old(), head_len(NEW_LEN) as usize);
    let head = Head::parse(&GOLDEN[..head_len], GOLDEN.len() as u64).unwrap();
    let (from, to) = (Hash::of(b"old"), Hash::of(b"new"));
    head.expect(&from, &to, NEW_LEN).unwrap();
    let mut decoder = DeltaDecoder::new().unwrap();
    let mut words = Vec::new();
    for (index, expected) in (0..).zip(new()) {
        let part = head.part(index).unwrap();
        let bytes = &GOLDEN[part.body.start as usize..part.body.end as usize];
        let body = Body::parse(part.kind, bytes, expected.len(), head.from_size).unwrap();
        let mut source: Vec<u8> = body
            .sources
            .iter()
            .flat_map(|range| old[range.start as usize..range.end as usize].iter().copied())
            .collect();
        assert!(body.sum.is_none_or(|sum| sum == SourceSum::of(&source)), "segment {index}");
        let (mut made, payload) = (vec![0; expected.len()], &bytes[body.payload_at..]);
        decoder.decode(&body, bytes, &mut source, &mut made).unwrap();
        assert!(made == expected, "segment {index} is another");
        let again = match body.method {
            Method::Repack { streams_len } => {
                let directory = directory().encode();
                Body::encode_repack(&directory, body.sum.unwrap(), streams_len, payload)
            }
            _ => Body::encode(&body.sources, body.sum, body.method, payload),
        };
        assert_eq!(again, bytes, "segment {index}");
        words.push((part.kind, bytes.len() as u32));
    }
    let kinds: Vec<_> = words.iter().map(|(kind, _)| *kind).collect();
    let all = [Kind::Zero, Kind::Zstd, Kind::Prefix, Kind::Patch, Kind::Repack, Kind::Copy];
    assert_eq!(kinds, all);
    let again = Head::encode((&from, OLD_LEN as u64), (&to, NEW_LEN), &words);
    assert_eq!(again, GOLDEN[..head_len]);
}
