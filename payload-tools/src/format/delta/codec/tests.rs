use proptest::prelude::*;

use super::*;
use crate::format::delta::varint;

fn zstd(level: u8, content: u32) -> Codec {
    Codec::Zstd { level, content, headed: false }
}

fn metadata(level: u8) -> Codec {
    Codec::Zstd { level, content: 8192, headed: true }
}

fn lz4(level: u8, stored: u32) -> Codec {
    Codec::Lz4 { level, stored }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Something like the text of a program: words that come again in another order.
fn text(len: usize) -> Vec<u8> {
    let words =
        ["let ", "mut ", "content", " = ", "stored", ".iter()", ";\n    ", "return ", "(0)"];
    let picks = noise(len);
    let words = picks.iter().flat_map(|&pick| words[usize::from(pick) % words.len()].bytes());
    words.take(len).collect()
}

pub(super) fn contents() -> Vec<Vec<u8>> {
    let mixed = [text(70_000), noise(10_000), vec![0; 50_000], text(40_000)].concat();
    let all = [text(300_000), noise(20_000), vec![0; 300_000], mixed, b"a few bytes".to_vec()];
    all.into()
}

const CODECS: [Codec; 10] = [
    Codec::Zstd { level: 1, content: 4096, headed: false },
    Codec::Zstd { level: 3, content: 131_072, headed: false },
    Codec::Zstd { level: 15, content: 131_072, headed: false },
    Codec::Zstd { level: 19, content: 262_144, headed: false },
    Codec::Zstd { level: 22, content: 524_288, headed: false },
    Codec::Zstd { level: 15, content: 8192, headed: true },
    Codec::Lz4 { level: 0, stored: 4096 },
    Codec::Lz4 { level: 3, stored: 4096 },
    Codec::Lz4 { level: 9, stored: 4096 },
    Codec::Lz4 { level: 9, stored: 65_536 },
];

/// Encodes all of `content` with no fix-ups, and decodes it again where it is coded.
fn round_trip(coder: &mut Coder, codec: Codec, content: &[u8]) -> usize {
    let mut stored = vec![0; BLOCK_MAX];
    let mut again = vec![0; 2 * BLOCK_MAX];
    let (mut left, mut blocks) = (content, 0);
    while !left.is_empty() {
        let fix = &mut Reader::new(&[fix::OWN as u8]);
        let (used, len) = coder.encode(codec, left, fix, &mut stored).unwrap();
        let plain = matches!(codec, Codec::Zstd { headed: false, .. }) && len == used;
        if !plain {
            let got = coder.decode(codec, &stored[..len], &mut again).unwrap();
            assert!(again[..got] == left[..used], "{codec:?}");
        }
        (left, blocks) = (&left[used..], blocks + 1);
    }
    blocks
}

#[test]
fn content_comes_back() {
    let mut coder = Coder::new().unwrap();
    for codec in CODECS {
        for content in contents() {
            round_trip(&mut coder, codec, &content);
        }
    }
    // Two blocks, the second of which is the rest.
    assert_eq!(round_trip(&mut coder, zstd(3, 4096), &text(5000)), 2);
}

#[test]
fn noise_is_stored_as_it_is() {
    let mut coder = Coder::new().unwrap();
    let (content, mut out) = (noise(4096), vec![0; 5000]);
    let own = &[fix::OWN as u8];
    let zstd = coder.encode(zstd(15, 4096), &content, &mut Reader::new(own), &mut out);
    assert_eq!(zstd, Ok((4096, 4096)));
    assert_eq!(out[..4096], content);
    let headed = coder.encode(metadata(15), &content, &mut Reader::new(own), &mut out);
    assert_eq!(headed, Ok((4096, 4098)));
    assert_eq!(out[..4098], [&[0, 0x90], content.as_slice()].concat());
}

/// As one context after another would make them, whatever came before.
#[test]
fn zstd_makes_what_the_library_makes() {
    let mut coder = Coder::new().unwrap();
    let mut out = vec![0; BLOCK_MAX];
    for content in [text(131_072), text(4096), text(1_048_576), text(100)] {
        for level in [1, 5, 8, 15] {
            if content.len() > 524_288 && level > 8 {
                continue;
            }
            let own = &mut Reader::new(&[0]);
            let made = coder.encode(zstd(level, 1 << 20), &content, own, &mut out);
            let (_, len) = made.unwrap();
            let expected = ::zstd::bulk::compress(&content, level.into()).unwrap();
            assert!(out[..len] == expected, "level {level}, {} bytes", content.len());
        }
    }
}

/// LZ4's clusters begin with zeros, and are full.
#[test]
fn clusters_are_whole_blocks() {
    let mut coder = Coder::new().unwrap();
    let content = text(1 << 20);
    let mut out = vec![0; 65_536];
    for level in [0, 3, 9] {
        let own = &mut Reader::new(&[0]);
        let (_, len) = coder.encode(lz4(level, 65_536), &content, own, &mut out).unwrap();
        assert_eq!(len, 65_536);
        let own = &mut Reader::new(&[0]);
        let (used, len) =
            coder.encode(lz4(level, 65_536), &content[..9000], own, &mut out).unwrap();
        assert_eq!((used, len % BLOCK, out[0]), (9000, 0, 0));
    }
}

#[test]
fn what_there_is_no_memory_for_is_told() {
    let mut coder = Coder::new().unwrap();
    let (content, mut out) = (text(1 << 20), vec![0; 1 << 20]);
    for codec in [zstd(22, 1 << 20), lz4(10, 4096), lz4(12, 4096), lz4(1, 4096)] {
        let made = coder.encode(codec, &content, &mut Reader::new(&[0]), &mut out);
        assert_eq!(made, Err(CodecError::Unsupported), "{codec:?}");
        // A block can be had all the same.
        let fix = fix_up(&mut coder, codec, &content, 5000, b"what there was");
        let made = coder.encode(codec, &content, &mut Reader::new(&fix), &mut out);
        assert_eq!(made, Ok((5000, 14)));
        assert_eq!(&out[..14], b"what there was");
    }
}

fn fix_of(coder: &mut Coder, codec: Codec, content: &[u8], used: usize, stored: &[u8]) -> Vec<u8> {
    let fix = fix_up(coder, codec, content, used, stored);
    let mut out = vec![0; stored.len()];
    let mut reader = Reader::new(&fix);
    assert_eq!(coder.encode(codec, content, &mut reader, &mut out), Ok((used, stored.len())));
    assert!(out == stored && reader.rest().is_empty());
    fix
}

#[test]
fn fix_ups_are_the_shortest() {
    let mut coder = Coder::new().unwrap();
    for codec in [zstd(15, 131_072), metadata(15), lz4(0, 4096), lz4(9, 4096)] {
        let content = text(200_000);
        let mut out = vec![0; BLOCK_MAX];
        let made = coder.encode(codec, &content, &mut Reader::new(&[0]), &mut out);
        let (used, len) = made.unwrap();
        let stored = &mut out[..len];
        assert_eq!(fix_of(&mut coder, codec, &content, used, stored), [0]);
        stored[len - 20] ^= 1;
        let fix = fix_of(&mut coder, codec, &content, used, stored);
        assert_eq!(fix[0], 2);
        assert!(fix.len() < 15);
        // Other content, and less of it.
        let fix = fix_of(&mut coder, codec, &content, 3, b"\x28\xB5\x2F\xFD");
        assert!(fix.len() < 10);
        let mut plain = vec![0; BLOCK_MAX];
        let len = super::plain(codec, &content[..5000], &mut plain).unwrap();
        assert_eq!(fix_of(&mut coder, codec, &content, 5000, &plain[..len])[0], 1);
    }
}

#[test]
fn bad_blocks_are_refused() {
    let mut coder = Coder::new().unwrap();
    let mut out = vec![0; 131_072];
    let frame = ::zstd::bulk::compress(&text(50_000), 3).unwrap();
    let mut refuses = |codec, stored: &[u8], room: usize| {
        let refused = coder.decode(codec, stored, &mut out[..room]);
        assert_eq!(refused, Err(CodecError::Block));
    };
    let squash = zstd(3, 131_072);
    refuses(squash, &frame[..frame.len() - 1], 131_072);
    refuses(squash, &[frame.as_slice(), &[0]].concat(), 131_072);
    refuses(squash, &[frame.as_slice(), &frame].concat(), 131_072);
    refuses(squash, &frame, 49_999);
    refuses(zstd(3, 32_768), &frame, 131_072);
    refuses(squash, &[0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0], 131_072);
    refuses(squash, &[], 131_072);
    refuses(metadata(3), &[], 8192);
    refuses(metadata(3), &[4, 0x80, 1, 2, 3], 8192);
    refuses(metadata(3), &[3, 0x80, 1, 2, 3], 2);
    refuses(lz4(9, 4096), &[0; 4096], 131_072);
    refuses(lz4(9, 4096), &[0xF0; 4096], 131_072);
    refuses(lz4(9, 4096), &[], 131_072);
}

#[test]
fn bad_fix_ups_are_refused() {
    let mut coder = Coder::new().unwrap();
    let (content, mut out) = (text(5000), vec![0; 5000]);
    let mut refuses = |numbers: &[u64], rest: &[u8], error| {
        let mut fix = Vec::new();
        numbers.iter().for_each(|&number| varint::put(number, &mut fix));
        fix.extend(rest);
        for codec in [zstd(3, 131_072), lz4(9, 4096)] {
            let made = coder.encode(codec, &content, &mut Reader::new(&fix), &mut out);
            assert_eq!(made, Err(error));
        }
    };
    refuses(&[], &[], CodecError::Number(VarintError::Cut));
    refuses(&[5, 0], &[], CodecError::FixUp);
    refuses(&[9, 5001], &[], CodecError::FixUp);
    refuses(&[16, 5000], &[], CodecError::FixUp);
    refuses(&[35, 5000, 0, 0, 0], &[], CodecError::FixUp);
    refuses(&[1, 5001], &[], CodecError::FixUp);
    refuses(&[2, 5000, 10, 6, 5], &[], CodecError::FixUp);
    refuses(&[2, 5000, u64::MAX, u64::MAX, 1], &[], CodecError::FixUp);
    refuses(&[2, 5000, 10, 3, 3], &[1, 2, 3], CodecError::Number(VarintError::Cut));
    refuses(&[2, 5000, 4990, 4990, 0], &[], CodecError::FixUp);
    refuses(&[2, 5000, 5001, 5000, 0], &[3], CodecError::Room);
}

/// A block of a SquashFS image that mksquashfs made with zstd 1.5.4 at level 15; 1.5.7 chooses other
/// matches.
const OLDER: &[u8] = include_bytes!("fixtures/zstd-1.5.4-level-15.zst");
/// One that the same library made at level 3, where offsets are written in full although they are in
/// use.
const OLDER_FAST: &[u8] = include_bytes!("fixtures/zstd-1.5.4-level-3.zst");

fn content_of(coder: &mut Coder, frame: &[u8]) -> Vec<u8> {
    let mut content = vec![0; 131_072];
    let len = coder.decode(zstd(15, 131_072), frame, &mut content).unwrap();
    content.truncate(len);
    content
}

fn older(coder: &mut Coder) -> Vec<u8> {
    content_of(coder, OLDER)
}

#[test]
fn a_block_of_an_older_zstd_is_made_by_edits() {
    let mut coder = Coder::new().unwrap();
    let content = older(&mut coder);
    assert_eq!(content.len(), 14_424);
    let fix = fix_of(&mut coder, zstd(15, 131_072), &content, content.len(), OLDER);
    assert_eq!(u64::from(fix[0]), fix::EDITS);
    assert!(fix.len() < 250, "{}", fix.len());
    // As metadata would be.
    let headed = Codec::Zstd { level: 15, content: 131_072, headed: true };
    let block = [&zstd::head(OLDER.len(), false).unwrap(), OLDER].concat();
    assert_eq!(fix_of(&mut coder, headed, &content, content.len(), &block), fix);
    // Other literals, which are not in the content.
    let mut other = OLDER.to_vec();
    other[300] ^= 1;
    let patched = fix_of(&mut coder, zstd(15, 131_072), &content, content.len(), &other);
    assert_eq!(u64::from(patched[0]), fix::EDITS_AND_PATCH);
    assert!(patched.len() < fix.len() + 12);
}

#[test]
fn a_block_of_a_fast_level_is_made_by_edits() {
    let mut coder = Coder::new().unwrap();
    let content = content_of(&mut coder, OLDER_FAST);
    assert_eq!(content.len(), 8192);
    let fix = fix_of(&mut coder, zstd(3, 8192), &content, content.len(), OLDER_FAST);
    assert_eq!(u64::from(fix[0]), fix::EDITS | fix::IN_FULL);
    assert!(fix.len() < 50, "{}", fix.len());
}

/// The choices of another level, out of those of this one: levels of one strategy write down in the
/// same way what they chose.
#[test]
fn edits_make_the_blocks_of_other_levels() {
    let mut coder = Coder::new().unwrap();
    let mut edited = 0;
    for content in contents() {
        let content = &content[..content.len().min(131_072)];
        for (level, at_hand) in [(6, 7), (7, 6), (9, 10), (13, 15), (16, 18), (18, 16), (19, 22)] {
            let stored = ::zstd::bulk::compress(content, level).unwrap();
            if stored.len() < content.len() {
                let codec = zstd(at_hand, 131_072);
                let fix = fix_of(&mut coder, codec, content, content.len(), &stored);
                let kind = u64::from(fix[0]) & !fix::IN_FULL;
                assert!([fix::OWN, fix::EDITS].contains(&kind), "{level} by {at_hand}: {kind}");
                edited += kind / fix::EDITS;
            }
        }
    }
    assert!(edited >= 2, "{edited}");
}

/// What sees only the block itself is told so.
#[test]
fn an_encoder_that_looks_less_far_is_imitated() {
    let mut coder = Coder::new().unwrap();
    let (content, mut out) = (text(131_072), vec![0; 4096]);
    for len in [4000, 5000] {
        let made = coder.encode(lz4(9, 4096), &content[..len], &mut Reader::new(&[0]), &mut out);
        let (used, len) = made.unwrap();
        let stored = out[..len].to_vec();
        let fix = fix_of(&mut coder, lz4(9, 4096), &content, used, &stored);
        assert_eq!(u64::from(fix[0]), fix::OWN | fix::OTHER);
    }
}

/// Deltas are made and followed by what exactly these encoders make: with another one it is another
/// format, which needs another magic.
#[test]
#[expect(unsafe_code, reason = "there is no safe way to ask")]
fn the_encoders_are_those_of_the_format() {
    assert_eq!(zstd_safe::version_number(), 10507);
    // SAFETY: it takes nothing and returns a number.
    assert_eq!(unsafe { lz4_sys::LZ4_versionNumber() }, 11000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes: an error or a block, within the bounds.
    #[test]
    fn hostile_input_is_harmless(
        numbers in proptest::collection::vec(0u64..6000, 0..12),
        rest in proptest::collection::vec(any::<u8>(), 0..40),
        room in 0usize..6000,
    ) {
        let mut coder = Coder::new().unwrap();
        let mut fix = Vec::new();
        for (place, &number) in numbers.iter().enumerate() {
            varint::put(if place == 0 { number % 34 } else { number }, &mut fix);
        }
        fix.extend(&rest);
        let content = text(5000);
        for codec in CODECS {
            let mut out = vec![0; room];
            let _ = coder.encode(codec, &content, &mut Reader::new(&fix), &mut out);
            let _ = coder.decode(codec, &fix, &mut out);
        }
    }

    /// Damaged edits: an error or another block.
    #[test]
    fn damaged_edits_are_harmless(at in 0usize..10_000, byte: u8, cut in 0usize..10) {
        let mut coder = Coder::new().unwrap();
        let content = older(&mut coder);
        let mut fix = fix_up(&mut coder, zstd(15, 131_072), &content, content.len(), OLDER);
        fix.truncate(fix.len() - cut);
        let at = at % fix.len();
        fix[at] = byte;
        let mut out = vec![0; 20_000];
        let _ = coder.encode(zstd(15, 131_072), &content, &mut Reader::new(&fix), &mut out);
    }

    /// Damaged frames, on the side that makes fix-ups: there is one all the same.
    #[test]
    fn damaged_frames_are_made_too(at in 0usize..2920, byte: u8, cut in 0usize..10) {
        let mut coder = Coder::new().unwrap();
        let content = older(&mut coder);
        let mut stored = OLDER[..OLDER.len() - cut].to_vec();
        let at = at % stored.len();
        stored[at] = byte;
        fix_of(&mut coder, zstd(15, 131_072), &content, content.len(), &stored);
    }

    /// Damaged blocks: an error or other content.
    #[test]
    fn damage_is_harmless(at in 0usize..4096, bit in 0u8..8, cut in 0usize..64) {
        let mut coder = Coder::new().unwrap();
        let mut out = vec![0; 131_072];
        for codec in CODECS {
            let mut stored = vec![0; BLOCK_MAX];
            let made = coder.encode(codec, &text(9000), &mut Reader::new(&[0]), &mut stored);
            let (_, len) = made.unwrap();
            stored.truncate(len - cut);
            let at = at % stored.len();
            stored[at] ^= 1 << bit;
            let _ = coder.decode(codec, &stored, &mut out);
        }
    }
}
