//! Stages that make an image out of the booted slot's, and deltas that are no good.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::PathBuf;

use payload_tools::confined::hostile::taking_over;
use payload_tools::delta::{DeltaImage, DeltaPlan, make};
use payload_tools::format::delta::{Head, Kind, head_len};
use payload_tools::format::{Hash, Role, SEGMENT};

use super::fixture::{DISK_SIZE, ROOT_AT, TestImage, TestRelease, http, noise};
use super::server::{Fault, Server};
use crate::install::{DeltaOffer, Staged, TargetContent, stage};

/// A release, the one before it in the booted slot, and the delta between their roots.
struct Update {
    old: TestRelease,
    new: TestRelease,
    delta: Vec<u8>,
}

/// A root of three segments and a bit, for which the delta has each kind but zeroes.
fn update() -> Update {
    let old = TestRelease::new(1);
    let was = &old.root.bytes;
    // Moved by a block; then with a byte in each 40 another; then mixed; then something new.
    let mut root = was[4096..SEGMENT + 4096].to_vec();
    let mut changed = was[2 * SEGMENT..][..SEGMENT].to_vec();
    changed.iter_mut().step_by(40).for_each(|byte| *byte = byte.wrapping_add(3));
    root.extend(changed);
    // Small pieces, too many for the steps of a patch; a longer one now and then shows where from.
    let places = noise(5, 5 << 19);
    let places = places.chunks(5).map(|five| five.iter().fold(0, |sum, n| sum << 4 | *n as usize));
    let mixed = (0usize..).zip(places);
    let mixed = mixed.flat_map(|(n, at)| &was[at..][..if n % 11 == 0 { 64 } else { 14 }]);
    root.extend(mixed.take(SEGMENT));
    root.extend(noise(6, 8192));
    let kernel = TestImage::of(Role::Kernel, old.kernel.bytes.clone());
    let new = TestRelease { kernel, root: TestImage::of(Role::Root, root) };
    let delta = delta(&old.root, &new.root);
    Update { old, new, delta }
}

fn delta(old: &TestImage, new: &TestImage) -> Vec<u8> {
    let image = |image: &TestImage| DeltaImage { root: image.image.root, size: image.image.size };
    let threads = NonZero::new(2).unwrap();
    let plan = DeltaPlan { old: image(old), new: image(new), level: 3, threads };
    let out = tempfile::NamedTempFile::new().unwrap();
    make(&plan, (&old.bytes, &new.bytes), out.as_file(), &|_| ()).unwrap();
    fs_err::read(out.path()).unwrap()
}

/// What a stage came to.
struct Outcome {
    staged: Staged,
    /// Requests for frames of the root's full payload.
    frames: usize,
    /// The most bytes that were late at once.
    most_late: usize,
}

impl Update {
    fn head(&self) -> Head {
        let len = head_len(self.new.root.image.size) as usize;
        Head::parse(&self.delta[..len], self.delta.len() as u64).unwrap()
    }

    fn path(&self) -> String {
        self.new.root.path(&format!("delta/{}", self.old.root.image.root))
    }

    /// Stages the new release beside the old one, with `delta` on the server, and
    /// sees that the target holds the release, whatever the delta is.
    fn stage(&self, delta: Option<&[u8]>, faults: &[Fault], booted: &[u8]) -> Outcome {
        self.stage_with([faults, &[]], delta, booted)
    }

    /// The faults are those of the delta and of the root's full payload.
    fn stage_with(
        &self,
        [of_delta, of_full]: [&[Fault]; 2],
        delta: Option<&[u8]>,
        booted: &[u8],
    ) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        let [disk, slot] = ["disk", "booted"].map(|name| folder.path().join(name));
        let before = noise(99, DISK_SIZE as usize);
        fs_err::write(&disk, &before).unwrap();
        fs_err::write(&slot, booted).unwrap();
        let mut documents: HashMap<_, _> = self.new.documents();
        documents.extend(delta.map(|delta| (self.path(), delta.to_vec())));
        let server = Server::start(documents);
        server.fault(&self.path(), of_delta);
        server.fault(&self.new.root.path("full"), of_full);
        let staged = self.stage_from(&server, disk.clone(), slot.clone());
        assert!(fs_err::read(&slot).unwrap() == booted, "the booted slot was written");
        assert!(fs_err::read(&disk).unwrap() == self.new.expected(&before), "another release");
        let of_full = |line: &&String| line.starts_with(&self.new.root.path("full"));
        // One request is for the seek table.
        let frames = server.log().iter().filter(of_full).count() - 1;
        Outcome { staged, frames, most_late: server.most_late() }
    }

    fn stage_from(&self, server: &Server, disk: PathBuf, booted: PathBuf) -> Staged {
        let source = http(server);
        let (from, to) = (&self.old.root.image, self.new.root.image.root);
        let offer = DeltaOffer { from: from.root, from_size: from.size, to };
        let content = TargetContent::Other;
        let mut plan = self.new.plan_with(&source, &disk, content, &[offer]).unwrap();
        let mut extent = plan.root.target.clone();
        (extent.path, extent.offset) = (booted, 0);
        assert_eq!(plan.root.target.offset, ROOT_AT);
        plan.root.booted = Some(extent);
        stage(&plan, &source, &()).unwrap()
    }
}

#[test]
fn a_release_is_made_of_the_booted_one_from_few_bytes() {
    let update = update();
    let head = update.head();
    let kinds: Vec<_> = (0..4).map(|index| head.part(index).unwrap().kind).collect();
    // Which of the two suits what is mixed is no business of the device.
    let expected =
        matches!(kinds[..], [Kind::Copy, Kind::Patch, Kind::Prefix | Kind::Patch, Kind::Zstd]);
    assert!(expected, "{kinds:?}");
    let outcome = update.stage(Some(&update.delta), &[], &update.old.root.bytes);
    // What is new takes a frame either way; the shorter one is fetched.
    assert!(outcome.frames <= 1, "{}", outcome.frames);
    let whole = update.new.kernel.full.len() + update.new.root.full.len();
    let fetched = outcome.staged.download().fetched;
    assert!(fetched < whole as u64 / 2, "{fetched} of {whole}");
}

#[test]
fn without_a_delta_it_is_a_full_payload() {
    let update = update();
    let outcome = update.stage(None, &[], &update.old.root.bytes);
    assert_eq!(outcome.frames, 4);
}

/// Each row spoils a delta in another way: the release is staged all the same,
/// and what the delta does not give comes from the full payload.
#[test]
fn whatever_is_wrong_with_a_delta_the_release_is_staged() {
    let update = update();
    let head = update.head();
    let body = |index: u64| head.part(index).unwrap().body.start as usize;
    let good = &update.delta;
    let flipped = |at: usize, with: u8| {
        let mut bad = good.clone();
        bad[at] ^= with;
        bad
    };
    let rows: [(&str, Vec<u8>, usize); 15] = [
        ("magic", flipped(0, 1), 4),
        ("old size", flipped(8, 1), 4),
        ("larger old size", flipped(10, 1), 4),
        ("new size", flipped(17, 0x10), 4),
        ("old root", flipped(24, 1), 4),
        ("new root", flipped(56, 1), 4),
        ("unknown kind", flipped(91, 8), 4),
        ("longer body", flipped(88, 1), 4),
        ("cut head", good[..50].to_vec(), 4),
        ("cut body", good[..good.len() - 1].to_vec(), 4),
        ("number of ranges", flipped(body(0), 0x7F), 1),
        ("source of a copy", flipped(body(0) + 1, 2), 1),
        ("lengths of a patch", flipped(body(1) + 1, 1), 1),
        ("frame of a patch", flipped(body(2) - 10, 0xFF), 1),
        ("frame of what is mixed", flipped(body(3) - 10, 0xFF), 1),
    ];
    for (name, bad, least) in rows {
        let outcome = update.stage(Some(&bad), &[], &update.old.root.bytes);
        assert!(outcome.frames >= least, "{name}: {} frames", outcome.frames);
    }
}

/// A patch whose decoding is taken over: see the tests of hostile payloads.
#[test]
fn a_delta_that_takes_over_its_decoder_costs_a_frame() {
    let update = update();
    let end = update.head().part(1).unwrap().body.end as usize;
    for act in ["open", "write standard output", "kill", "lie", "nonsense"] {
        let mut bad = update.delta.clone();
        let mark = taking_over(act);
        bad[end - mark.len()..end].copy_from_slice(&mark);
        let outcome = update.stage(Some(&bad), &[], &update.old.root.bytes);
        assert!(outcome.frames >= 1, "{act}: {} frames", outcome.frames);
    }
}

#[test]
fn a_server_that_fails_at_a_delta_is_asked_for_the_full_payload() {
    let update = update();
    for fault in [Fault::Status(404), Fault::IgnoreRange, Fault::Portal, Fault::Shifted] {
        // The head is had, its first body is not.
        let faults = [Fault::None, fault.clone()];
        let outcome = update.stage(Some(&update.delta), &faults, &update.old.root.bytes);
        assert!(outcome.frames >= 1, "{fault:?}");
    }
}

#[test]
fn a_booted_slot_with_another_image_is_seen() {
    let update = update();
    let other = noise(55, update.old.root.bytes.len());
    let outcome = update.stage(Some(&update.delta), &[], &other);
    assert!(outcome.frames >= 3, "{}", outcome.frames);
    // Shorter than the delta's old image.
    let outcome = update.stage(Some(&update.delta), &[], &update.old.root.bytes[..SEGMENT]);
    assert!(outcome.frames >= 2, "{}", outcome.frames);
}

/// A frame of these images has more than half a segment.
#[test]
fn where_a_delta_is_given_up_no_more_than_a_segment_is_under_way() {
    let update = update();
    let frames = [&[Fault::None][..], &vec![Fault::Late; 4]].concat();
    let other = noise(55, update.old.root.bytes.len());
    let outcome = update.stage_with([&[], &frames], Some(&update.delta), &other);
    assert!(outcome.frames >= 3, "{}", outcome.frames);
    assert!((1..=SEGMENT).contains(&outcome.most_late), "{}", outcome.most_late);
}

/// A delta for other images under this one's name.
#[test]
fn a_delta_of_other_images_is_not_used() {
    let update = update();
    let other = TestImage::of(Role::Root, noise(7, update.new.root.bytes.len()));
    let bad = delta(&update.old.root, &other);
    assert_eq!(update.stage(Some(&bad), &[], &update.old.root.bytes).frames, 4);
    // Its head says that it is the right one, its bodies make the other image.
    let mut lie = bad;
    lie[56..88].copy_from_slice(update.new.root.image.root.as_bytes());
    assert_ne!(Hash::of(&lie), Hash::of(&update.delta));
    assert_eq!(update.stage(Some(&lie), &[], &update.old.root.bytes).frames, 4);
}
