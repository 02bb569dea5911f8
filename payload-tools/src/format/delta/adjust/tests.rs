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
        addresses: 0..0,
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

/// Changes 64 bytes or fewer that are this of a program at 0x1000, which is loaded from there to 0x9000.
/// From 0x2000 on it moved by 0x10.
fn moved(content: Content, region: &[u8]) -> Vec<u8> {
    let file = FileAdjustment {
        maps: BTreeMap::from([(Domain::Address, map(&[(0x2000, 0x10)]))]),
        addresses: 0x1000..0x9000,
        regions: vec![(3..3 + region.len(), Records::Program(Part { content, address: 0x1000 }))],
        ..FileAdjustment::default()
    };
    let adjustment = Adjustment { files: vec![file], ..Adjustment::default() };
    let mut source = [&[0xE8; 3], region, &[0xE8; 9]].concat();
    Adjuster::default().apply(&adjustment.encode(), &mut source).unwrap();
    assert_eq!(source[..3], [0xE8; 3]);
    assert_eq!(source[3 + region.len()..], [0xE8; 9]);
    source[3..3 + region.len()].to_vec()
}

#[test]
fn operands_of_instructions_move() {
    // Bytes before a distance, and behind it in the same instruction.
    let relative: [(&[u8], usize); 15] = [
        (&[0xE8], 0),
        (&[0xE9], 0),
        (&[0x0F, 0x84], 0),
        (&[0x48, 0x8D, 0x3D], 0),
        (&[0x83, 0x3D], 1),
        (&[0x80, 0x3D], 1),
        (&[0x6B, 0x05], 1),
        (&[0x81, 0x3D], 4),
        (&[0xC7, 0x05], 4),
        (&[0xF6, 0x05], 1),
        (&[0xF7, 0x05], 4),
        (&[0xF7, 0x25], 0),
        (&[0x0F, 0xB6, 0x05], 0),
        (&[0x0F, 0xBA, 0x25], 1),
        (&[0x66, 0x0F, 0x3A, 0x0F, 0x05], 1),
    ];
    for (before, after) in relative {
        for content in [Content::Code, Content::FixedCode] {
            // To 0x2000, the first address that moved, exactly.
            let end = 2 + before.len() + 4 + after;
            let distance = |to: u32| (to - 0x1000 - end as u32).to_le_bytes();
            let of = |to| [&[0x90; 2], before, &distance(to), &vec![0; after][..]].concat();
            assert_eq!(moved(content, &of(0x2000)), of(0x2010), "{before:x?}");
            assert_eq!(moved(content, &of(0x1FFF)), of(0x1FFF), "{before:x?}");
        }
        let end = 2 + before.len() + 4 + after;
        let outside = (0x9000 - 0x1000 - end as u32).to_le_bytes();
        let outside = [&[0x90; 2], before, &outside, &vec![0; after][..]].concat();
        assert_eq!(moved(Content::Code, &outside), outside, "{before:x?}");
    }
    // A short jump and a jump of another condition's first byte alone are none.
    for none in [&[0x90, 0x84][..], &[0x05], &[0xEB]] {
        let code = [none, &0x1000u32.to_le_bytes()].concat();
        assert_eq!(moved(Content::Code, &code), code, "{none:x?}");
    }
}

/// What refers back, from what moved to what did not, is nearer by as much.
#[test]
fn an_operand_is_counted_from_where_it_is_now() {
    let mut code = vec![0x90; 0x1010];
    code[0x1003] = 0xE8;
    let call = |to: i32| (to - 0x2008).to_le_bytes();
    code[0x1004..0x1008].copy_from_slice(&call(0x1100));
    let made = moved(Content::Code, &code);
    assert_eq!(made[0x1004..0x1008], call(0x1100 - 0x10));
}

#[test]
fn addresses_in_fixed_code_move() {
    let of = |to: u32| [&[0xBF][..], &to.to_le_bytes(), &[0xC3]].concat();
    assert_eq!(moved(Content::FixedCode, &of(0x2000)), of(0x2010));
    assert_eq!(moved(Content::Code, &of(0x2000)), of(0x2000));
    assert_eq!(moved(Content::FixedCode, &of(0xFFF)), of(0xFFF));
    // Compared with an address, not with what is that far away: before it is no opcode.
    let compared = |to: u32| [&[0x90, 0x48, 0x3D][..], &to.to_le_bytes()].concat();
    assert_eq!(moved(Content::FixedCode, &compared(0x2000)), compared(0x2010));
}

#[test]
fn tables_of_addresses_move() {
    let longs =
        |longs: &[u64]| -> Vec<u8> { longs.iter().flat_map(|long| long.to_le_bytes()).collect() };
    let pointers = |to| longs(&[7, to, 0x9000, 0x1234]);
    assert_eq!(moved(Content::Pointers, &pointers(0x2000)), pointers(0x2010));
    // The second has a symbol, to which its addend is added.
    let relocations = |at, to| longs(&[at, 8, to, 0x1800, 5 << 32 | 1, 0x2000]);
    assert_eq!(
        moved(Content::Relocations, &relocations(0x2008, 0x3000)),
        relocations(0x2018, 0x3010)
    );
    let symbols = |to| longs(&[0x2000, to, 0x2000, 3, 0, 4]);
    assert_eq!(moved(Content::Symbols, &symbols(0x2000)), symbols(0x2010));
    let table = |function, frame| words(&[function, frame]);
    assert_eq!(moved(Content::FrameTable, &table(0x1000, 0x800)), table(0x1010, 0x800));
    let frames = |function: u32| {
        let common = words(&[12, 0, 0x2000, 0x2000]);
        [common, words(&[12, 20, function - 0x1018, 0x40]), words(&[0, 0])].concat()
    };
    assert_eq!(moved(Content::Frames, &frames(0x2000)), frames(0x2010));
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
    // No maps of the kernel's; of a file one map of types, one symbol, no addresses, one region.
    let good = [0, 0, 0, 0, 1, 0, 1, 5, 2, 1, 2, 3, 0, 0, 1, 4, 1, 48];
    assert_eq!(apply(&good), Ok(()));
    assert_eq!(apply(&[]), Ok(()));
    let change = |at: usize, number: u64| {
        let mut numbers = good;
        numbers[at] = number;
        apply(&numbers)
    };
    for (at, number) in [(15, 17), (15, u64::MAX), (17, 61), (17, u64::MAX)] {
        assert_eq!(change(at, number), Err(AdjustError::Region), "{at}: {number}");
    }
    assert_eq!(change(12, u64::MAX), Ok(()));
    assert_eq!(apply(&[0, 0, 0, 0, 0, 0, u64::MAX, 1, 0]), Err(AdjustError::Region));
    assert_eq!(change(16, 9 + 0x1_0000), Err(AdjustError::Domain));
    assert_eq!(change(5, 5 + 0x1_0000), Err(AdjustError::Domain));
    assert_eq!(change(11, 0x1_0000), Err(AdjustError::Domain));
    assert_eq!(change(10, 1 << 32), Err(AdjustError::Order));
    assert_eq!(apply(&good[..17]), Err(AdjustError::Number(VarintError::Cut)));
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

    /// Any part of a program, with any bytes and addresses.
    #[test]
    fn arbitrary_programs_never_panic(
        source in proptest::collection::vec(
            prop_oneof![Just(0xE8u8), Just(0x0F), Just(0x05), 0u8..20, any::<u8>()], 0..300,
        ),
        content in proptest::sample::select(Content::ALL.to_vec()),
        (address, first, len) in (any::<u64>(), any::<u64>(), any::<u64>()),
        (place, shift) in (any::<u64>(), any::<i64>()),
    ) {
        let file = FileAdjustment {
            maps: BTreeMap::from([(Domain::Address, map(&[(place, shift)]))]),
            addresses: first..first.saturating_add(len),
            regions: vec![(0..source.len(), Records::Program(Part { content, address }))],
            ..FileAdjustment::default()
        };
        let bytes = Adjustment { files: vec![file], ..Adjustment::default() }.encode();
        let mut source = source;
        prop_assert_eq!(Adjuster::default().apply(&bytes, &mut source), Ok(()));
    }
}
