//! One delta with a segment of each kind, as its bytes were when the format was settled.

use super::*;
use crate::format::Hash;

const GOLDEN: &[u8] = include_bytes!("fixtures/every-kind.delta");
const OLD_LEN: usize = 8 * BLOCK;
const NEW_LEN: u64 = 4 * SEGMENT as u64 + BLOCK as u64;

fn old() -> Vec<u8> {
    (0..OLD_LEN).map(|at| (at % 251) as u8).collect()
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
        filled(&old, b'p'),
        filled(&plus_one, b'n'),
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
        decoder.decode(body.method, payload, &mut source, &mut made).unwrap();
        assert!(made == expected, "segment {index} is another");
        let again = Body::encode(&body.sources, body.sum, body.method, payload);
        assert_eq!(again, bytes, "segment {index}");
        words.push((part.kind, bytes.len() as u32));
    }
    let kinds: Vec<_> = words.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::Zero, Kind::Zstd, Kind::Prefix, Kind::Patch, Kind::Copy]);
    let again = Head::encode((&from, OLD_LEN as u64), (&to, NEW_LEN), &words);
    assert_eq!(again, GOLDEN[..head_len]);
}
