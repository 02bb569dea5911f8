use super::super::super::SOURCE_MAX;
use super::super::sample::{self, Sample};
use super::*;
use proptest::prelude::*;

const FROM: u64 = 100_000;
/// As large as an image may be.
const HUGE: u64 = 1 << 40;

const ZSTD_3: Codec = Codec::Zstd { level: 3, content: 131_072, headed: false };
const METADATA: Codec = Codec::Zstd { level: 22, content: 8192, headed: true };
const LZ4_9: Codec = Codec::Lz4 { level: 9, stored: 4096 };
const LZ4_0: Codec = Codec::Lz4 { level: 0, stored: 1 << 20 };

fn bytes(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    numbers.iter().for_each(|number| varint::put(*number, &mut bytes));
    bytes
}

fn group(blocks: u64, stored: u32, is_packed: bool) -> BlockGroup {
    BlockGroup { blocks, stored, is_packed }
}

fn directory() -> Directory {
    let groups = vec![group(3, 4096, true), group(1, 8192, false), group(2, 77, true)];
    let first = vec![
        Item::Packed { codec: 3, start: 5000, groups, content: 10..60_000 },
        // Behind what was packed, before it, and right behind that.
        Item::Stored(25_634..30_000),
        Item::Stored(0..100),
        Item::Packed { codec: 1, start: 100, groups: vec![group(1, 50, true)], content: 0..1 },
        Item::Stored(99_999..FROM),
    ];
    let parts = vec![
        PartDirectory { content: PART_MAX, items: first },
        PartDirectory { content: 1, items: Vec::new() },
        PartDirectory { content: 9, items: vec![Item::Stored(0..1)] },
    ];
    Directory { codecs: vec![ZSTD_3, METADATA, LZ4_9, LZ4_0], parts }
}

#[test]
fn a_directory_comes_back() {
    let bytes = directory().encode();
    let (codecs, places) = places(&bytes, FROM).unwrap();
    let table = CodecTable::parse(&mut Reader::new(&bytes[codecs.clone()])).unwrap();
    let found: Vec<_> = (0..6).map(|number| table.get(number)).collect();
    let known = [None, Some(ZSTD_3), Some(METADATA), Some(LZ4_9), Some(LZ4_0)].map(Ok);
    assert_eq!(found[..5], known);
    for number in [5, 8, 9, u64::MAX] {
        assert_eq!(table.get(number), Err(DirectoryError::Codec), "{number}");
    }
    let stored: Vec<_> = places.iter().map(|place| place.stored.clone()).collect();
    let of_first = vec![5000..30_000, 0..150, 99_999..FROM];
    assert_eq!(stored, [of_first, Vec::new(), std::iter::once(0..1).collect()]);
    assert_eq!(places[0].stored_len(), 25_151);
    // Without what lies between them but the number of parts.
    let mut end = codecs.end + 1;
    for place in &places {
        assert_eq!(place.directory.start, end);
        end = place.directory.end;
    }
    assert_eq!(end, bytes.len());
}

#[test]
fn items_come_back() {
    let directory = directory();
    let bytes = directory.encode();
    let (codecs, places) = places(&bytes, FROM).unwrap();
    let table = CodecTable::parse(&mut Reader::new(&bytes[codecs])).unwrap();
    for (part, place) in directory.parts.iter().zip(places) {
        let mut reader = Reader::new(&bytes[place.directory]);
        let mut items = ItemReader::new(&mut reader).unwrap();
        assert_eq!(items.content, part.content);
        for item in &part.items {
            let raw = items.next(&mut reader, &table).unwrap().unwrap();
            assert_eq!(raw.stored, item.stored());
            match item {
                Item::Stored(range) => assert_eq!(raw.content, (0, range.end - range.start)),
                Item::Packed { codec, groups, content, .. } => {
                    assert_eq!(table.get(*codec), Ok(raw.codec));
                    assert_eq!(raw.content, (content.start, content.end - content.start));
                    assert_eq!(raw.count, groups.len() as u64);
                }
            }
        }
        assert!(items.next(&mut reader, &table).unwrap().is_none());
        assert!(reader.rest().is_empty());
    }
}

/// Codecs, parts; of the first part content and items; an item's codec, skip, and the rest.
type Case<'a> = (&'a str, &'a [u64], DirectoryError);

fn check_refused(cases: &[Case<'_>]) {
    for (name, numbers, error) in cases {
        assert_eq!(places(&bytes(numbers), FROM), Err(*error), "{name}");
    }
}

#[test]
fn hostile_parts_and_codecs_are_refused_by_name() {
    use DirectoryError::{Codec, End, Number, Part, Parts};
    let (content, block, max) = (PART_MAX as u64, BLOCK_MAX as u64, u64::MAX);
    check_refused(&[
        ("nothing", &[], Number(VarintError::Cut)),
        ("no number of parts", &[0], Number(VarintError::Cut)),
        ("no parts", &[0, 0], Parts),
        ("257 parts", &[0, 257], Parts),
        ("2^64 - 1 parts", &[0, max], Parts),
        ("a part that is not there", &[0, 2, 1, 0], Number(VarintError::Cut)),
        ("a part of no content", &[0, 1, 0, 0], Part),
        ("a part of too much content", &[0, 1, content + 1, 0], Part),
        ("a part of 2^64 - 1 bytes", &[0, 1, max, 0], Part),
        ("bytes behind the last part", &[0, 1, 1, 0, 0], End),
        ("nine codecs", &[9], Codec),
        ("2^64 - 1 codecs", &[max], Codec),
        ("an unknown family", &[1, 3, 3, 8192], Codec),
        ("a family of 2^64 - 1", &[1, max, 3, 8192], Codec),
        ("zstd of level 0", &[1, 0, 0, 8192], Codec),
        ("zstd of level 23", &[1, 0, 23, 8192], Codec),
        ("zstd of level 259", &[1, 0, 259, 8192], Codec),
        ("zstd of metadata of level 0", &[1, 1, 0, 8192], Codec),
        ("zstd of metadata of level 23", &[1, 1, 23, 8192], Codec),
        ("zstd of few bytes", &[1, 0, 3, 4095], Codec),
        ("zstd of too many bytes", &[1, 0, 3, block + 1], Codec),
        ("zstd of 2^32 + 8192 bytes", &[1, 0, 3, (1 << 32) + 8192], Codec),
        ("LZ4 of level 1", &[1, 2, 1, 4096], Codec),
        ("LZ4 of level 2", &[1, 2, 2, 4096], Codec),
        ("LZ4 of level 13", &[1, 2, 13, 4096], Codec),
        ("LZ4 of no bytes", &[1, 2, 9, 0], Codec),
        ("LZ4 of half a block", &[1, 2, 9, 6144], Codec),
        ("LZ4 of too many bytes", &[1, 2, 9, block + 4096], Codec),
    ]);
}

#[test]
fn hostile_items_are_refused_by_name() {
    use DirectoryError::{Codec, Number, Range, Source};
    let (input, source, block) = (PART_INPUT_MAX as u64, PART_SOURCE_MAX as u64, BLOCK_MAX as u64);
    let (past, max) = (2 * (block + 3), u64::MAX);
    check_refused(&[
        ("an item of no codec", &[0, 1, 1, 1, 1, 0, 1, 1, 2, 0, 1], Codec),
        ("an item of the second of one", &[1, 0, 3, 8192, 1, 1, 1, 2, 0, 1, 1, 2, 0, 1], Codec),
        ("an item of codec 2^64 - 1", &[0, 1, 1, 1, max, 0], Codec),
        ("an item that is not there", &[0, 1, 1, 1], Number(VarintError::Cut)),
        ("2^64 - 1 items", &[0, 1, 1, max, 0, 0, 1], Number(VarintError::Cut)),
        ("no bytes", &[0, 1, 1, 1, 0, 0, 0], Range),
        ("a byte too many", &[0, 1, 1, 1, 0, 0, FROM + 1], Range),
        ("bytes behind the image", &[0, 1, 1, 1, 0, 2 * FROM, 1], Range),
        ("bytes before the image", &[0, 1, 1, 1, 0, 1, 1], Range),
        ("bytes that end at 2^64", &[0, 1, 1, 3, 0, max - 1, 1, 0, max - 1, 1, 0, 0, 1], Range),
        ("2^64 - 1 bytes", &[0, 1, 1, 1, 0, 2, max], Range),
        ("no blocks", &[1, 0, 3, 8192, 1, 1, 1, 1, 0, 1, 0, 20, 0, 1], Range),
        ("blocks of no bytes", &[1, 0, 3, 8192, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1], Range),
        ("blocks of too many bytes", &[1, 0, 3, 8192, 1, 1, 1, 1, 0, 1, 1, past, 0, 1], Range),
        ("no groups", &[1, 0, 3, 8192, 1, 1, 1, 1, 0, 0, 0, 1], Range),
        (
            "groups that are not there",
            &[1, 0, 3, 8192, 1, 1, 1, 1, 0, max],
            Number(VarintError::Cut),
        ),
        ("nothing of blocks", &[1, 0, 3, 8192, 1, 1, 1, 1, 0, 1, 1, 20, 5, 0], Range),
        ("blocks that are too many", &[1, 0, 3, 8192, 1, 1, 1, 1, 0, 1, max, 20, 0, 1], Source),
        (
            "groups that are too many",
            &[1, 0, 3, 8192, 1, 1, 1, 1, 0, 2, max / 2, 4, max / 2, 4, 0, 1],
            Source,
        ),
        ("too much of blocks", &[1, 0, 3, 8192, 1, 1, 1, 1, 0, 1, 1, 20, 0, source + 1], Source),
        (
            "too much of blocks, together",
            &[1, 0, 3, 8192, 1, 1, 2, 0, 0, 10, 1, 0, 1, 1, 20, 0, source - 9],
            Source,
        ),
        ("2^64 - 1 bytes of blocks", &[1, 0, 3, 8192, 1, 1, 1, 1, 0, 1, 1, 20, 0, max], Source),
        ("too many bytes", &[0, 1, 1, 1, 0, 0, input + 1], Source),
    ]);
}

/// What a device has room for is a part's stored bytes with its directory and the codecs.
#[test]
fn a_part_and_its_directory_are_bounded_together() {
    let of = |stored: usize, codecs: Vec<Codec>| {
        let items = vec![Item::Stored(7..7 + stored as u64)];
        let part = PartDirectory { content: 1, items };
        Directory { codecs, parts: vec![part.clone(), part] }.encode()
    };
    // The number of codecs; content, items, codec, skip, and four bytes for how many.
    let most = PART_INPUT_MAX - 1 - 8;
    assert!(places(&of(most, vec![]), HUGE).is_ok());
    assert_eq!(places(&of(most + 1, vec![]), HUGE), Err(DirectoryError::Source));
    assert_eq!(places(&of(most, vec![LZ4_9]), HUGE), Err(DirectoryError::Source));
    assert!(places(&of(most - 4, vec![LZ4_9]), HUGE).is_ok());
    const { assert!(PART_INPUT_MAX <= SOURCE_MAX, "it is where a source is") };
}

#[test]
fn a_directory_may_be_as_large_as_its_bounds() {
    let part = PartDirectory { content: PART_MAX, items: vec![Item::Stored(0..FROM)] };
    let codecs = vec![ZSTD_3; CODECS_MAX as usize];
    let whole = Directory { codecs, parts: vec![part; PARTS_MAX as usize] };
    assert_eq!(places(&whole.encode(), FROM).unwrap().1.len(), 256);
    let codec = |content| Codec::Zstd { level: 1, content, headed: true };
    let groups = vec![group(1, BLOCK_MAX as u32 + 2, true)];
    let content = 5..5 + PART_SOURCE_MAX as u64;
    let items = vec![Item::Packed { codec: 8, start: 0, groups, content }];
    let codecs = vec![codec(BLOCK_MAX as u32); 8];
    let one = Directory { codecs, parts: vec![PartDirectory { content: 1, items }] };
    assert!(places(&one.encode(), HUGE).is_ok());
}

#[test]
fn a_cut_directory_is_refused() {
    let bytes = directory().encode();
    for len in 0..bytes.len() {
        let refused = places(&bytes[..len], FROM).unwrap_err();
        assert_eq!(refused, DirectoryError::Number(VarintError::Cut), "{len}");
    }
}

fn check_bounds(directory: &[u8]) {
    let Ok((codecs, places)) = places(directory, FROM) else { return };
    assert!((1..=PARTS_MAX as usize).contains(&places.len()));
    for place in &places {
        assert!(place.stored.iter().all(|range| range.start < range.end && range.end <= FROM));
        assert!(codecs.len() + place.directory.len() + place.stored_len() <= PART_INPUT_MAX);
    }
    assert_eq!(places.last().map(|place| place.directory.end), Some(directory.len()));
}

proptest! {
    #[test]
    fn arbitrary_directories_never_panic_and_are_bounded(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        numbers in proptest::collection::vec(0u64..4, 0..24),
    ) {
        check_bounds(&bytes);
        check_bounds(&self::bytes(&numbers));
    }

    #[test]
    fn a_changed_directory_is_bounded(at in 0usize..200, byte: u8, sample in 0usize..3) {
        for directory in [directory(), Sample::of(sample::ALL[sample]).directory] {
            let mut bytes = directory.encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            check_bounds(&bytes);
        }
    }
}
