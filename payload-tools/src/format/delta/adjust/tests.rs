use super::*;
use proptest::prelude::*;

fn map(places: &[(u64, i64)]) -> ShiftMap {
    let mut map = ShiftMap::default();
    places.iter().for_each(|(start, shift)| map.push(*start, *shift));
    map
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A source of three regions: two types, a symbol of section 3, and two relocations of section 5.
fn source() -> (Vec<u8>, [Range<usize>; 3]) {
    // A function of type 30 named at 7; a structure named at 500 with a member of type 200.
    let types = words(&[7, 12 << 24, 30, 500, 4 << 24 | 1, 8, 9, 200, 0]);
    // Named at 40, of section 3, value 0x100.
    let symbol = words(&[40, 3 << 16, 0x100, 0, 8, 0]);
    // At 0x10 symbol 2, which stands for section 3, plus 0x100; at 0x20 symbol 9, plus 0x100.
    let relocations = words(&[0x10, 0, 2, 2, 0x100, 0, 0x20, 0, 2, 9, 0x100, 0]);
    let mut source = vec![0xEE; 4];
    let mut place = |bytes: &[u8]| {
        let start = source.len();
        source.extend(bytes);
        source.push(0xEE);
        start..start + bytes.len()
    };
    let regions = [place(&types), place(&symbol), place(&relocations)];
    (source, regions)
}

fn adjustment([types, symbol, relocations]: [Range<usize>; 3]) -> Adjustment {
    let file = |maps: &[(Domain, ShiftMap)], regions: &[(Range<usize>, Records)]| FileAdjustment {
        maps: maps.iter().cloned().collect(),
        sections: BTreeMap::from([(2, 3)]),
        regions: regions.to_vec(),
    };
    let own = [
        (Domain::Type, map(&[(100, 5)])),
        (Domain::TypeName, map(&[(400, -3)])),
        (Domain::SymbolName, map(&[(40, 1)])),
        (Domain::Symbol, map(&[(3, 10)])),
        (Domain::Section(3), map(&[(0x80, 0x40), (0x101, 0)])),
        (Domain::Section(5), map(&[(0x18, -8)])),
    ];
    Adjustment {
        own: [100, 400],
        kernel: [map(&[(20, 2), (31, 0)]), map(&[(5, 1), (8, -4)])],
        files: vec![
            file(&own, &[(types, Records::Types), (symbol, Records::Symbols)]),
            file(&own, &[(relocations, Records::Relocations(5))]),
        ],
    }
}

#[test]
fn each_number_moves_as_its_domain_does() {
    let (mut source, regions) = source();
    let before = source.clone();
    let adjustment = adjustment(regions.clone());
    Adjuster::default().apply(&adjustment.encode(), &mut source).unwrap();
    let [types, symbol, relocations] = regions.clone();
    // Names 7 and 9 and type 30 are the kernel's; 500 and 200 the module's own.
    let expected = words(&[8, 12 << 24, 32, 497, 4 << 24 | 1, 8, 5, 205, 0]);
    assert_eq!(source[types], expected);
    assert_eq!(source[symbol], words(&[41, 3 << 16, 0x140, 0, 8, 0]));
    let expected = words(&[0x10, 0, 2, 2, 0x140, 0, 0x18, 0, 2, 19, 0x100, 0]);
    assert_eq!(source[relocations], expected);
    let is_outside = |at: &usize| regions.iter().all(|region| !region.contains(at));
    assert!((0..source.len()).filter(is_outside).all(|at| source[at] == before[at]));
}

/// The first number that a module has of its own is no longer the kernel's.
#[test]
fn the_first_own_number_is_the_modules() {
    let (mut source, regions) = source();
    let types = regions[0].clone();
    let mut adjustment = adjustment(regions);
    adjustment.own = [200, 500];
    adjustment.kernel = [map(&[(0, 1)]), map(&[(0, 1)])];
    Adjuster::default().apply(&adjustment.encode(), &mut source).unwrap();
    let expected = words(&[8, 12 << 24, 31, 497, 4 << 24 | 1, 8, 10, 205, 0]);
    assert_eq!(source[types], expected);
}

#[test]
fn a_cut_record_has_no_numbers() {
    let (source, [types, _, relocations]) = source();
    for (range, records, whole) in
        [(types, Records::Types, 12), (relocations, Records::Relocations(5), ENTRY_LEN)]
    {
        let region = |len: usize| range.start..range.start + len;
        let adjusted = |len| {
            let mut adjustment = adjustment([0..0, 0..0, region(len)]);
            adjustment.files.remove(0);
            adjustment.files[0].regions[0].1 = records;
            let mut source = source.clone();
            Adjuster::default().apply(&adjustment.encode(), &mut source).unwrap();
            source
        };
        assert_eq!(adjusted(whole), adjusted(whole + 3), "{records:?}");
        assert_ne!(adjusted(whole), adjusted(range.len()), "{records:?}");
    }
}

#[test]
fn a_reduced_map_moves_the_same_numbers() {
    let whole = map(&[(10, 1), (20, 2), (30, 1), (40, 0)]);
    let reduced = whole.reduced([3, 12, 35, 50]);
    assert_eq!(reduced, map(&[(12, 1), (50, 0)]));
    for number in [3, 12, 35, 50] {
        assert_eq!(reduced.moved(number), whole.moved(number));
    }
}

/// Applies numbers, each of one LEB128 spelling.
fn apply(numbers: &[u64]) -> Result<(), AdjustError> {
    let mut bytes = Vec::new();
    numbers.iter().for_each(|number| varint::put(*number, &mut bytes));
    Adjuster::default().apply(&bytes, &mut [0; 64])
}

#[test]
fn hostile_adjustments_are_refused_by_name() {
    // No maps of the kernel's; of a file one map of types, one symbol, one region.
    let good = [0, 0, 0, 0, 1, 0, 1, 5, 2, 1, 2, 3, 1, 4, 1, 48];
    assert_eq!(apply(&good), Ok(()));
    assert_eq!(apply(&[]), Ok(()));
    let change = |at: usize, number: u64| {
        let mut numbers = good;
        numbers[at] = number;
        apply(&numbers)
    };
    for (at, number) in [(13, 17), (13, u64::MAX), (15, 61), (15, u64::MAX)] {
        assert_eq!(change(at, number), Err(AdjustError::Region), "{at}: {number}");
    }
    assert_eq!(change(14, 2 + 0x1_0000), Err(AdjustError::Domain));
    assert_eq!(change(5, 4 + 0x1_0000), Err(AdjustError::Domain));
    assert_eq!(change(11, 0x1_0000), Err(AdjustError::Domain));
    assert_eq!(change(10, 1 << 32), Err(AdjustError::Order));
    assert_eq!(apply(&good[..15]), Err(AdjustError::Number(VarintError::Cut)));
    assert_eq!(apply(&[0, u64::MAX]), Err(AdjustError::Number(VarintError::Cut)));
    // A place, a domain and a symbol twice, and a place beyond all numbers.
    assert_eq!(apply(&[0, 2, 5, 2, 0, 4]), Err(AdjustError::Order));
    assert_eq!(apply(&[0, 2, u64::MAX, 2, 1, 4]), Err(AdjustError::Order));
    assert_eq!(apply(&[0, 0, 0, 0, 2, 1, 0, 1, 0]), Err(AdjustError::Order));
    assert_eq!(apply(&[0, 0, 0, 0, 0, 2, 7, 1, 0, 1]), Err(AdjustError::Order));
}

/// More than there is room for is refused: a confined decoder has no memory to give.
#[test]
fn no_memory_is_got() {
    let mut places = vec![0, 1 << 17, 1, 2];
    places.extend([1, 0].repeat(1 << 17));
    assert_eq!(apply(&places), Err(AdjustError::Places));
    let mut symbols = vec![0, 0, 0, 0, 0, 1 << 13];
    symbols.extend([1, 0].repeat(1 << 13));
    assert_eq!(apply(&symbols), Err(AdjustError::Places));
    let mut domains = vec![0, 0, 0, 0, 1 << 13];
    domains.extend((0..1 << 13).flat_map(|domain| [domain, 0]));
    assert_eq!(apply(&domains), Err(AdjustError::Places));
}

proptest! {
    #[test]
    fn arbitrary_adjustments_never_panic(
        bytes in proptest::collection::vec(prop_oneof![0u8..6, any::<u8>()], 0..80),
        source in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut source = source;
        let _ = Adjuster::default().apply(&bytes, &mut source);
    }
}
