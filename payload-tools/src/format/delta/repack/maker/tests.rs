use super::super::sample::{self, Sample};
use super::super::{Directory, Item};
use super::*;
use crate::format::delta::varint;
use proptest::prelude::*;

type Part = [Vec<u8>; STREAMS];

const CONTROL: usize = 1;
const PACKING: usize = 3;
const FRESH: usize = 4;

/// All that makes a segment, apart.
#[derive(Clone)]
struct Kit {
    lead: u64,
    parts: Vec<Part>,
    inputs: Vec<(Vec<u8>, usize)>,
    len: usize,
}

fn put(numbers: &[u64], out: &mut Vec<u8>) {
    numbers.iter().for_each(|number| varint::put(*number, out));
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    put(numbers, &mut out);
    out
}

impl Kit {
    fn of(sample: &Sample) -> Self {
        let streams = sample.streams();
        let mut reader = Reader::new(&streams);
        let (lead, count) = (reader.number().unwrap(), reader.number().unwrap() as usize);
        let lens: Vec<usize> =
            (0..count * STREAMS).map(|_| reader.number().unwrap() as usize).collect();
        let mut parts = vec![Part::default(); count];
        for kind in 0..STREAMS {
            for (at, part) in parts.iter_mut().enumerate() {
                part[kind] = reader.bytes(lens[at * STREAMS + kind]).unwrap().to_vec();
            }
        }
        assert!(reader.rest().is_empty());
        Self { lead, parts, inputs: sample.inputs(), len: sample.segment.len() }
    }

    fn streams(&self) -> Vec<u8> {
        let mut out = numbers(&[self.lead, self.parts.len() as u64]);
        self.parts.iter().flatten().for_each(|stream| put(&[stream.len() as u64], &mut out));
        for kind in 0..STREAMS {
            self.parts.iter().for_each(|part| out.extend(&part[kind]));
        }
        out
    }

    fn make(&self, repacker: &mut Repacker) -> Result<Vec<u8>, RepackError> {
        make(repacker, &self.streams(), &self.inputs, self.len)
    }

    fn but(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }
}

/// As a decoder does.
fn make(
    repacker: &mut Repacker,
    streams: &[u8],
    inputs: &[(Vec<u8>, usize)],
    len: usize,
) -> Result<Vec<u8>, RepackError> {
    repacker.begin(streams)?;
    // What was there before.
    let mut segment = vec![0xEE; len];
    for (input, directory_len) in inputs {
        repacker.part(&mut Adjuster::default(), streams, (input, *directory_len), &mut segment)?;
    }
    if repacker.is_complete() { Ok(segment) } else { Err(RepackError::Streams) }
}

#[test]
fn parts_make_a_segment_with_all_that_a_segment_has() {
    let mut repacker = Repacker::new().unwrap();
    for codecs in sample::ALL {
        let sample = Sample::of(codecs);
        let made = make(&mut repacker, &sample.streams(), &sample.inputs(), sample.segment.len());
        assert!(made.unwrap() == sample.segment, "{codecs:?}");
        let kit = Kit::of(&sample);
        assert_eq!(kit.streams(), sample.streams());
        // A block that is as it is, one with a patch, and those that need nothing.
        assert!(kit.parts[0][PACKING].len() < 80, "{codecs:?}: {:?}", kit.parts[0][PACKING]);
    }
}

/// Whatever is behind the end of its blocks' content, and not what an earlier part left there.
#[test]
fn what_is_behind_the_content_of_blocks_is_zeroes() {
    let mut repacker = Repacker::new().unwrap();
    for codecs in sample::ALL {
        let sample = Sample::of(codecs);
        repacker.source.fill(0xAA);
        let made = make(&mut repacker, &sample.streams(), &sample.inputs(), sample.segment.len());
        assert!(made.unwrap() == sample.segment, "{codecs:?}");
    }
}

/// Packings that do not fit the second part.
fn packings(kit: &Kit) -> Vec<(&'static str, Kit, RepackError)> {
    use RepackError::{Incomplete, Number};
    let packing = |numbers: &[u64]| {
        let mut out = Vec::new();
        put(numbers, &mut out);
        kit.but(|kit| kit.parts[1][PACKING] = out)
    };
    let cut = Number(VarintError::Cut);
    let len = 9400u64;
    vec![
        ("no packing", packing(&[]), cut.clone()),
        ("a packing of a skip", packing(&[0]), cut.clone()),
        ("a packing of a codec", packing(&[0, 0]), cut.clone()),
        ("a packing that ends early", packing(&[0, 0, 9000]), cut.clone()),
        ("a skip beyond the content", packing(&[len + 1]), Incomplete),
        ("a skip of 2^64 - 1", packing(&[u64::MAX]), Incomplete),
        ("bytes beyond the content", packing(&[1, 0, len]), Incomplete),
        ("2^64 - 1 bytes", packing(&[0, 0, u64::MAX]), Incomplete),
        ("a run beyond the content", packing(&[1, 2, len, 0]), Incomplete),
        ("a codec that is not there", packing(&[0, 3, len, 0]), DirectoryError::Codec.into()),
        ("a run of no blocks", packing(&[0, 2, len]), CodecError::Number(VarintError::Cut).into()),
        ("a block of nothing", packing(&[0, 2, len, 1, 0]), Incomplete),
        ("a block of too much", packing(&[0, 2, len, 1, len + 1]), CodecError::FixUp.into()),
        ("an unknown fix-up", packing(&[0, 2, len, 7, 1]), CodecError::FixUp.into()),
        (
            "a block that is longer than all blocks",
            packing(&[0, 2, len, 2, len, 1 << 21, 1 << 21, 0]),
            CodecError::Room.into(),
        ),
        ("nothing but skips", packing(&[len]), Incomplete),
    ]
}

#[test]
fn hostile_streams_are_refused_by_name_and_leave_nothing_behind() {
    use RepackError::{Incomplete, Streams};
    let mut repacker = Repacker::new().unwrap();
    for codecs in sample::ALL {
        let sample = Sample::of(codecs);
        let kit = Kit::of(&sample);
        let patch = RepackError::Patch;
        let cases = [
            ("no parts", kit.but(|kit| kit.parts.clear()), Streams),
            ("too few parts", kit.but(|kit| kit.parts.truncate(1)), Incomplete),
            ("too many parts", kit.but(|kit| kit.parts.push(Part::default())), Streams),
            ("a directory too few", kit.but(|kit| kit.inputs.truncate(1)), Streams),
            ("257 parts", kit.but(|kit| kit.parts.resize(257, Part::default())), Streams),
            (
                "parts in another order",
                kit.but(|kit| kit.parts.swap(0, 1)),
                patch(PatchError::Incomplete),
            ),
            ("a block that begins nowhere", kit.but(|kit| kit.lead = 1 << 21), Streams),
            ("a block that begins at 2^64", kit.but(|kit| kit.lead = u64::MAX), Streams),
            ("a byte before too many", kit.but(|kit| kit.lead += 1 + BEHIND), Incomplete),
            ("nothing but what is before", kit.but(|kit| kit.lead = 1 << 20), Incomplete),
            ("a segment that is shorter", kit.but(|kit| kit.len -= 9000), Incomplete),
            ("a segment of nothing", kit.but(|kit| kit.len = 0), Incomplete),
            ("a segment that is longer", kit.but(|kit| kit.len += 8), Incomplete),
            ("a packing that goes on", kit.but(|kit| kit.parts[1][PACKING].push(0)), Streams),
            (
                "new bytes too few",
                kit.but(|kit| kit.parts[1][FRESH].truncate(8999)),
                patch(PatchError::Streams),
            ),
            (
                "new bytes too many",
                kit.but(|kit| kit.parts[1][FRESH].push(0)),
                patch(PatchError::Incomplete),
            ),
            (
                "steps that are cut",
                kit.but(|kit| kit.parts[0][CONTROL].truncate(1)),
                patch(PatchError::Number(VarintError::Cut)),
            ),
        ];
        for (name, kit, error) in cases.into_iter().chain(packings(&kit)) {
            assert_eq!(kit.make(&mut repacker).unwrap_err(), error, "{name}: {codecs:?}");
            let whole = self::make(
                &mut repacker,
                &sample.streams(),
                &sample.inputs(),
                sample.segment.len(),
            );
            assert!(whole.unwrap() == sample.segment, "after {name}");
        }
    }
}

/// Bytes of the last block behind the segment, which may be filled by what lies before the first.
const BEHIND: u64 = 7;

#[test]
fn lengths_that_lie_are_refused() {
    let mut repacker = Repacker::new().unwrap();
    let refused = |repacker: &mut Repacker, lens: &[u64], rest: usize| {
        let mut streams = numbers(&[0, lens.len() as u64 / 5]);
        put(lens, &mut streams);
        streams.resize(streams.len() + rest, 0);
        repacker.begin(&streams).unwrap_err()
    };
    let cases: [(&[u64], usize); 7] = [
        (&[0, 0, 0, 0, 1], 0),
        (&[1, 0, 0, 0, 0], 2),
        (&[0, 0, 0, 0, 0], 1),
        (&[u64::MAX, 1, 0, 0, 0], 0),
        (&[1, 1, 1, 1, 1], 4),
        (&[3, 0, 0, 0, 0, u64::MAX, 0, 0, 0, 0], 3),
        (&[40, 40, 40, 40, 40], 100),
    ];
    for (lens, rest) in cases {
        assert_eq!(refused(&mut repacker, lens, rest), RepackError::Streams, "{lens:?}");
    }
    let cut = RepackError::Number(VarintError::Cut);
    for streams in [&[][..], &[0], &[0, 1], &[0, 1, 0, 0, 0, 0], &[0x80]] {
        assert_eq!(repacker.begin(streams), Err(cut.clone()), "{streams:?}");
    }
    // Of what was refused no part can be made.
    let none = repacker.part(&mut Adjuster::default(), &[0; 99], (&[], 0), &mut []);
    assert_eq!(none, Err(RepackError::Streams));
}

#[test]
fn no_part_comes_after_the_last() {
    let mut repacker = Repacker::new().unwrap();
    let sample = Sample::of(sample::SQUASHFS);
    let kit = Kit::of(&sample).but(|kit| kit.inputs.push(kit.inputs[1].clone()));
    assert_eq!(kit.make(&mut repacker), Err(RepackError::Streams));
}

/// A sample whose directory is another, and its stored bytes with it.
fn other(sample: &mut Sample, change: impl FnOnce(&mut Directory)) -> Kit {
    let whole = std::mem::take(&mut sample.directory);
    sample.directory = whole.clone();
    change(&mut sample.directory);
    let kit = Kit::of(sample);
    sample.directory = whole;
    kit
}

fn packed(
    directory: &mut Directory,
) -> (&mut Vec<super::super::BlockGroup>, &mut std::ops::Range<u64>) {
    match &mut directory.parts[0].items[0] {
        Item::Packed { groups, content, .. } => (groups, content),
        Item::Stored(_) => panic!("the first item has blocks"),
    }
}

#[test]
fn directories_that_do_not_fit_are_refused() {
    let mut repacker = Repacker::new().unwrap();
    for codecs in sample::ALL {
        let mut sample = Sample::of(codecs);
        let kit = Kit::of(&sample);
        let mut with = |change: &dyn Fn(&mut Directory)| other(&mut sample, change);
        let block = || RepackError::Codec(CodecError::Block);
        let source = PatchError::Source.into();
        let cases = [
            (
                "a part that is longer",
                with(&|directory| directory.parts[1].content += 1),
                PatchError::Incomplete.into(),
            ),
            (
                "a part that is shorter",
                with(&|directory| directory.parts[1].content -= 1),
                PatchError::Streams.into(),
            ),
            ("less of the blocks", with(&|directory| packed(directory).1.end -= 60), source),
            (
                "a raw block that is not",
                with(&|directory| {
                    let groups = packed(directory).0;
                    groups.iter_mut().for_each(|group| group.is_packed = true);
                }),
                block(),
            ),
            (
                "blocks of another codec",
                with(&|directory| {
                    directory.codecs[0] = match codecs[0] {
                        Codec::Lz4 { .. } => sample::SQUASHFS[0],
                        Codec::Zstd { headed: true, .. } => sample::SQUASHFS[0],
                        Codec::Zstd { .. } => sample::METADATA[0],
                    };
                }),
                block(),
            ),
            (
                "stored bytes that lack",
                kit.but(|kit| kit.inputs[0].0.truncate(200)),
                RepackError::Source,
            ),
            ("stored bytes too many", kit.but(|kit| kit.inputs[0].0.push(0)), RepackError::Source),
            (
                "a directory behind all there is",
                kit.but(|kit| kit.inputs[0].1 = kit.inputs[0].0.len() + 1),
                RepackError::Source,
            ),
            ("a directory that goes on", kit.but(|kit| kit.inputs[1].1 += 1), RepackError::Source),
            (
                "a directory that is cut",
                kit.but(|kit| kit.inputs[1].1 -= 1),
                DirectoryError::Number(VarintError::Cut).into(),
            ),
        ];
        for (name, kit, error) in cases {
            assert_eq!(kit.make(&mut repacker), Err(error), "{name}: {codecs:?}");
        }
        assert!(kit.make(&mut repacker).unwrap() == sample.segment, "{codecs:?}");
    }
}

/// A part's input is bounded before it gets here, but not by the same code that makes it.
#[test]
fn too_much_of_blocks_is_refused() {
    let mut repacker = Repacker::new().unwrap();
    let mut taken = |len: u64| {
        let directory = [&[1, 0, 3, 8192][..], &[1, 1, 1, 0, 1, 1, 3, 0, len]].concat();
        let mut input = numbers(&directory);
        let directory_len = input.len();
        input.push(b'x');
        let streams = numbers(&[0, 1, 0, 5, 0, 3, 0, 0, 0, 1, 1, 0, 0, 0, 1]);
        make(&mut repacker, &streams, &[(input, directory_len)], 1)
    };
    assert_eq!(taken(PART_SOURCE_MAX as u64 + 1), Err(DirectoryError::Source.into()));
}

#[test]
fn blocks_that_hold_more_than_their_codec_are_refused() {
    let mut sample = Sample::of(sample::SQUASHFS);
    let kit = other(&mut sample, |directory| {
        directory.codecs[0] = Codec::Zstd { level: 3, content: 4096, headed: false };
    });
    let made = kit.make(&mut Repacker::new().unwrap());
    assert_eq!(made, Err(CodecError::Block.into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn changed_bytes_never_panic(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        place in 0usize..3,
        family in 0usize..3,
    ) {
        thread_local! {
            static SAMPLES: std::cell::RefCell<(Repacker, Vec<Sample>)> =
                std::cell::RefCell::new((
                    Repacker::new().unwrap(),
                    sample::ALL.into_iter().map(Sample::of).collect(),
                ));
        }
        SAMPLES.with_borrow_mut(|(repacker, samples)| {
            let sample = &samples[family];
            let (mut streams, mut inputs) = (sample.streams(), sample.inputs());
            for (at, flip) in &flips {
                let bytes = match place {
                    0 => &mut streams,
                    // What is not of the directory too.
                    place => &mut inputs[place - 1].0,
                };
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            }
            let made = make(repacker, &streams, &inputs, sample.segment.len());
            assert!(made.is_err() || made.unwrap().len() == sample.segment.len());
            let whole = make(repacker, &sample.streams(), &sample.inputs(), sample.segment.len());
            assert!(whole.unwrap() == sample.segment);
        });
    }
}
