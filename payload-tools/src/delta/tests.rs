mod packed;

use super::*;
use crate::format::delta::{Body, DeltaDecoder, Kind, Method, Part, SourceSum};
use crate::format::{BLOCK, GROUP, Image, Role, Salt};
use crate::testing::noise;
use crate::tree::{Levels, TreeBuilder};
use crate::verify::check_segment;
use proptest::prelude::*;

/// A delta, and all that it takes to hold it against the tree.
struct Pair {
    old: Vec<u8>,
    new: Vec<u8>,
    from_root: Hash,
    levels: Levels,
    delta: Vec<u8>,
}

fn image(bytes: &[u8]) -> (Image, Levels) {
    let builder = TreeBuilder::new(Salt::default());
    let size = bytes.len() as u64;
    let tree = builder.build(&bytes, size, &|_| ()).unwrap();
    let image = builder.image(Role::Root, size, &tree);
    let levels = Levels::verify(&image, tree.levels).unwrap();
    (image, levels)
}

fn plan(old: &Image, new: &Image, level: i32) -> DeltaPlan {
    let [old, new] = [old, new].map(|image| DeltaImage { root: image.root, size: image.size });
    DeltaPlan { old, new, level, threads: NonZero::new(2).unwrap() }
}

impl Pair {
    fn new(old: Vec<u8>, new: Vec<u8>, level: i32) -> (Self, Tally) {
        let ((old_image, _), (new_image, levels)) = (image(&old), image(&new));
        let out = tempfile::NamedTempFile::new().unwrap();
        let plan = plan(&old_image, &new_image, level);
        let tally = make(&plan, (&old, &new), out.as_file(), &|_| ()).unwrap();
        let delta = fs_err::read(out.path()).unwrap();
        assert_eq!(delta.len() as u64, tally.size);
        (Self { old, new, from_root: old_image.root, levels, delta }, tally)
    }

    fn head(&self) -> Head {
        let len = head_len(self.new.len() as u64) as usize;
        Head::parse(&self.delta[..len], self.delta.len() as u64).unwrap()
    }

    /// Applies the delta to `old`, which may be another one: how many segments
    /// are those of the new image, and how many were refused.
    fn outcome(&self, delta: &[u8], old: &[u8]) -> Outcome {
        self.outcome_of(delta, old, 0..segment_count(self.new.len() as u64))
    }

    fn outcome_of(&self, delta: &[u8], old: &[u8], segments: Range<u64>) -> Outcome {
        let len = head_len(self.new.len() as u64) as usize;
        let mut outcome = Outcome { head: false, good: 0, refused: 0, wrong: 0 };
        let head = Head::parse(&delta[..len.min(delta.len())], delta.len() as u64);
        let Ok(head) = head else { return outcome };
        let (was, is) = (self.from_root, self.levels.root());
        if head.expect(&was, &is, self.new.len() as u64).is_err() {
            return outcome;
        }
        outcome.head = true;
        let mut decoder = DeltaDecoder::new().unwrap();
        for index in segments {
            let part = head.part(index).unwrap();
            let mut made = vec![0; (part.segment.end - part.segment.start) as usize];
            match make_segment(&mut decoder, delta, &head, &part, old, &mut made) {
                None => outcome.refused += 1,
                // What a device asks before it writes.
                Some(())
                    if check_segment(&self.levels, index, &made).all(|group| group.is_ok()) =>
                {
                    let range = part.segment.start as usize..part.segment.end as usize;
                    assert!(made == self.new[range], "the tree took other bytes");
                    outcome.good += 1;
                }
                Some(()) => outcome.wrong += 1,
            }
        }
        outcome
    }
}

/// Makes one segment as a device does; `None`: it is refused.
fn make_segment(
    decoder: &mut DeltaDecoder,
    delta: &[u8],
    head: &Head,
    part: &Part,
    old: &[u8],
    segment: &mut [u8],
) -> Option<()> {
    let bytes = delta.get(part.body.start as usize..part.body.end as usize)?;
    let body = Body::parse(part.kind, bytes, segment.len(), head.from_size).ok()?;
    let mut source = Vec::new();
    for range in &body.sources {
        source.extend(old.get(range.start as usize..range.end as usize)?);
    }
    if body.sum.is_some_and(|sum| sum != SourceSum::of(&source)) {
        return None;
    }
    decoder.decode(&body, bytes, &mut source, segment).ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcome {
    head: bool,
    good: u64,
    refused: u64,
    wrong: u64,
}

/// Images whose delta has segments of all kinds but the prefix, which wins where neither of the
/// others fits: in packed kernels, say.
fn of_most_kinds() -> (Pair, Tally) {
    let text = |seed: u64, len: usize| -> Vec<u8> {
        let words: Vec<Vec<u8>> = (0..64).map(|word| noise(word + 1, 9)).collect();
        noise(seed, len / 9 + 1).iter().flat_map(|n| words[usize::from(*n) % 64].clone()).collect()
    };
    let mut old = noise(1, 2 * SEGMENT);
    old.extend(&text(2, SEGMENT)[..SEGMENT]);
    // Copied from another place.
    let mut new = old[SEGMENT / 2..][..SEGMENT].to_vec();
    new.extend(vec![0; SEGMENT]);
    // One byte in each 40 is another: too many for references, few for a patch.
    let mut patched = old[BLOCK..][..SEGMENT].to_vec();
    patched.iter_mut().step_by(40).for_each(|byte| *byte = byte.wrapping_add(1));
    new.extend(patched);
    // Small pieces; a longer one now and then shows where from.
    let places = noise(3, 3 << 18);
    let places = places.chunks(3).map(|n| u32::from_le_bytes([n[0], n[1], n[2], 0]) as usize);
    let mixed: Vec<u8> = (0usize..)
        .zip(places)
        .flat_map(|(n, at)| &old[at % (1 << 20)..][..if n % 11 == 0 { 64 } else { 12 }])
        .copied()
        .collect();
    new.extend(&mixed[..SEGMENT]);
    new.extend(&text(4, GROUP + BLOCK)[..GROUP + BLOCK]);
    Pair::new(old, new, 3)
}

#[test]
fn kinds_are_used_and_make_the_new_image() {
    let (pair, tally) = of_most_kinds();
    let kinds: Vec<Kind> = tally.kinds.keys().copied().collect();
    assert_eq!(kinds, [Kind::Zero, Kind::Copy, Kind::Zstd, Kind::Patch], "{tally:?}");
    let outcome = pair.outcome(&pair.delta, &pair.old);
    assert_eq!(outcome, Outcome { head: true, good: 5, refused: 0, wrong: 0 });
}

/// A file system of kernel modules whose numbers have moved.
#[test]
fn a_patch_moves_the_numbers_of_modules() {
    use super::files::tests::{bytes_of, image_of, put};
    use super::objects::tests::Source;
    let image = |renewed: bool| {
        let folder = tempfile::tempdir().unwrap();
        for seed in 1..31 {
            let old = Source::unordered(seed);
            let module = if renewed { old.renewed() } else { old };
            put(folder.path(), &format!("lib/modules/{seed}.ko"), &module.build());
        }
        bytes_of(&image_of(folder.path(), 4 << 10, &["-O", "^has_journal"]))
    };
    let (pair, tally) = Pair::new(image(false), image(true), 19);
    let Outcome { refused, wrong, .. } = pair.outcome(&pair.delta, &pair.old);
    assert_eq!((refused, wrong), (0, 0));
    // As differences the numbers take more than twice as much.
    assert!(tally.size < 1100, "{tally:?}");
}

/// A file system of programs whose addresses have moved.
#[test]
fn a_patch_moves_the_addresses_of_programs() {
    use super::files::tests::{bytes_of, image_of, put};
    use super::program::tests::Source;
    let image = |renewed: bool| {
        let folder = tempfile::tempdir().unwrap();
        for is_fixed in [false, true] {
            let old = Source::old(is_fixed);
            let program = if renewed { old.renewed() } else { old };
            put(folder.path(), &format!("usr/bin/{is_fixed}"), &program.build());
        }
        bytes_of(&image_of(folder.path(), 4 << 10, &["-O", "^has_journal"]))
    };
    let (pair, tally) = Pair::new(image(false), image(true), 19);
    let Outcome { refused, wrong, .. } = pair.outcome(&pair.delta, &pair.old);
    assert_eq!((refused, wrong), (0, 0));
    assert!(tally.size < 1100, "{tally:?}");
}

#[test]
fn the_same_images_give_the_same_bytes() {
    assert!(of_most_kinds().0.delta == of_most_kinds().0.delta);
}

#[test]
fn small_changes_to_a_large_image_cost_little() {
    let old = noise(9, 3 * SEGMENT);
    let mut new = old.clone();
    // A file that moved by a few blocks, and one that has a few other bytes.
    new.copy_within(100 * BLOCK..1000 * BLOCK, 90 * BLOCK);
    new[2 * SEGMENT + 77..][..100].fill(7);
    let (_, tally) = Pair::new(old, new, 19);
    assert!(tally.size < 1200, "{tally:?}");
}

/// Each byte of head and bodies in turn: what is made is the new image or is
/// not taken, never something else.
#[test]
fn a_flipped_byte_costs_its_segment_at_most() {
    let (pair, _) = of_most_kinds();
    let head = pair.head();
    let head_end = head.part(0).unwrap().body.start;
    let mut bad = pair.delta.clone();
    let mut with_flip = |at: u64, flip: u8, segments: Range<u64>| {
        bad[at as usize] ^= flip;
        let outcome = pair.outcome_of(&bad, &pair.old, segments);
        bad[at as usize] ^= flip;
        outcome
    };
    for (at, flip) in (0..head_end).flat_map(|at| [(at, 1), (at, 0x80)]) {
        let outcome = with_flip(at, flip, 0..5);
        // The old image's size is a bound that sources may still keep; a kind may become another.
        let is_bound = (8..16).contains(&at) && outcome.wrong == 0;
        let is_kind = at >= 88 && outcome.good >= 4;
        assert!(!outcome.head || is_bound || is_kind, "byte {at}: {outcome:?}");
    }
    for index in 0..5 {
        let body = head.part(index).unwrap().body;
        let step = ((body.end - body.start) / 6).max(1) as usize;
        for at in (body.start..body.end.min(body.start + 24)).chain(body.clone().step_by(step)) {
            for flip in [1, 0x80] {
                // Good, if the byte was one that says nothing; `outcome_of` compares.
                let outcome = with_flip(at, flip, index..index + 1);
                let sum = outcome.good + outcome.refused + outcome.wrong;
                assert!(outcome.head && sum == 1, "byte {at}: {outcome:?}");
            }
        }
    }
}

#[test]
fn a_cut_delta_is_no_delta() {
    let (pair, _) = of_most_kinds();
    for len in [0, 7, 87, 88, 107, 108, 1000, pair.delta.len() - 1] {
        assert!(!pair.outcome(&pair.delta[..len], &pair.old).head, "{len} bytes");
    }
}

#[test]
fn another_old_image_is_seen_before_anything_is_made_of_it() {
    let (pair, _) = of_most_kinds();
    let other = noise(77, pair.old.len());
    let outcome = pair.outcome(&pair.delta, &other);
    // Zeroes and what is compressed alone need no old image.
    assert_eq!(outcome, Outcome { head: true, good: 2, refused: 3, wrong: 0 });
    let mut changed = pair.old.clone();
    changed[SEGMENT] ^= 1;
    let outcome = pair.outcome(&pair.delta, &changed);
    assert!(outcome.refused >= 1 && outcome.wrong == 0, "{outcome:?}");
}

/// A body that says of itself what is right and makes something else: only the
/// tree can tell, and does.
#[test]
fn a_delta_that_lies_is_found_by_the_tree() {
    let (pair, _) = of_most_kinds();
    let head = pair.head();
    let part = head.part(0).unwrap();
    let source = 0..SEGMENT as u64;
    let sum = SourceSum::of(&pair.old[..SEGMENT]);
    let lie = Body::encode(&[source], Some(sum), Method::Copy, &[]);
    let mut bodies: Vec<Vec<u8>> = (0..5)
        .map(|index| {
            let body = head.part(index).unwrap().body;
            pair.delta[body.start as usize..body.end as usize].to_vec()
        })
        .collect();
    assert_eq!(part.kind, Kind::Copy);
    bodies[0] = lie;
    let kinds = (0..5).map(|index| head.part(index).unwrap().kind);
    let segments: Vec<_> = kinds.zip(bodies.iter().map(|body| body.len() as u32)).collect();
    let old = (&head.from_root, head.from_size);
    let mut delta = Head::encode(old, (&head.to_root, head.to_size), &segments);
    delta.extend(bodies.concat());
    let outcome = pair.outcome(&delta, &pair.old);
    assert_eq!(outcome, Outcome { head: true, good: 4, refused: 0, wrong: 1 });
}

/// The worker that fails must not leave the others waiting.
#[test]
fn an_image_that_fails_ends_the_making() {
    struct BadSector;
    impl ReadAt for BadSector {
        fn fill_at(&self, _: &mut [u8], offset: u64) -> io::Result<()> {
            let bad = offset == SEGMENT as u64;
            if bad { Err(io::Error::other("bad sector")) } else { Ok(()) }
        }
    }
    let (send, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let image = DeltaImage { root: Hash::of(b""), size: 100 * SEGMENT as u64 };
        let plan =
            DeltaPlan { old: image, new: image, level: 1, threads: NonZero::new(3).unwrap() };
        let old = DeltaImage { root: Hash::of(b""), size: 4096 };
        let plan = DeltaPlan { old, ..plan };
        let out = tempfile::tempfile().unwrap();
        send.send(make(&plan, (&vec![1u8; 4096], &BadSector), &out, &|_| ()).map(drop))
    });
    let result = ended.recv_timeout(std::time::Duration::from_secs(60)).expect("it waits for ever");
    assert!(matches!(result.unwrap_err(), MakeError::Read { image: "new", .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever was cut, moved, changed and added: the delta makes the new image.
    #[test]
    fn a_delta_of_any_pair_makes_the_new_image(
        seed in 1u64..1000,
        old_blocks in 1usize..200,
        edits in proptest::collection::vec((0usize..200, 0usize..60, 0usize..5000, any::<u8>()), 0..20),
        fresh in 0usize..3,
    ) {
        let old = noise(seed, old_blocks * BLOCK);
        let mut new = Vec::new();
        for (block, blocks, shift, byte) in edits {
            let at = (block * BLOCK + shift) % old.len();
            let start = new.len();
            new.extend(old[at..].iter().take(blocks * BLOCK));
            if byte < 128 {
                new[start..].iter_mut().step_by(usize::from(byte) * 10 + 1).for_each(|b| *b ^= byte);
            }
        }
        new.extend(noise(seed + 1, fresh * BLOCK));
        new.extend(vec![0; 100]);
        new.resize(new.len().next_multiple_of(BLOCK), 0);
        let (pair, _) = Pair::new(old, new, 1);
        let outcome = pair.outcome(&pair.delta, &pair.old);
        prop_assert_eq!((outcome.refused, outcome.wrong), (0, 0));
        prop_assert_eq!(outcome.good, pair.head().segments());
    }
}
