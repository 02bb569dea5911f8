//! Stages that make an image out of the booted slot's, and deltas that are no good.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use partition_layout::BlockDevice as _;
use partition_layout::testing::MemoryDisk;
use payload_tools::confined::DecodeError;
use payload_tools::confined::hostile::taking_over;
use payload_tools::delta::{DeltaImage, DeltaPlan, make};
use payload_tools::format::delta::{Body, Head, Kind, head_len};
use payload_tools::format::seekable::FrameEncoder;
use payload_tools::format::{Hash, Role, SEGMENT};
use payload_tools::testing::noise as incompressible;

use super::fixture::{DISK_SIZE, ROOT_AT, TestImage, TestRelease, http, noise};
use super::server::{Fault, Server};
use crate::install::checked::Partition;
use crate::install::delta::{Delta, DeltaTrouble};
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

/// Runs a tool that makes the file `image` of a folder `tree`.
fn packed(folder: &Path, name: &str, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).current_dir(folder).args(arguments);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status =
        status.expect("this test needs mksquashfs and mkfs.erofs (squashfs-tools, erofs-utils)");
    assert!(status.success(), "{command:?}");
    fs_err::read(folder.join("image")).unwrap()
}

fn squashfs(folder: &Path) -> Vec<u8> {
    let tree = ["tree", "image", "-comp", "zstd", "-noappend", "-no-progress", "-all-root"];
    let times = ["-processors", "1", "-all-time", "0", "-mkfs-time", "0"];
    packed(folder, "mksquashfs", &[&tree[..], &times].concat())
}

fn erofs(folder: &Path) -> Vec<u8> {
    let id = "-U00000000-0000-0000-0000-000000000000";
    packed(folder, "mkfs.erofs", &["-T0", id, "-zlz4hc", "image", "tree"])
}

/// A root in a file system of packed blocks, of some segments: a file has other bytes here and there and
/// some more in the middle.
fn packed_update(make: fn(&Path) -> Vec<u8>) -> Update {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs_err::create_dir(&tree).unwrap();
    let put = |name: &str, bytes: &[u8]| fs_err::write(tree.join(name), bytes).unwrap();
    for n in 0..10u8 {
        put(&format!("library {n}"), &incompressible(n.into(), 700_000));
    }
    let mut changing = noise(3, 3_000_000);
    put("changing", &changing);
    let old = make(folder.path());
    changing.iter_mut().step_by(50_000).for_each(|byte| *byte ^= 1);
    changing.splice(1_000_000..1_000_000, noise(4, 5000));
    put("changing", &changing);
    let new = make(folder.path());
    let kernel = || TestImage::of(Role::Kernel, noise(1, SEGMENT + 4096));
    let [old, new] = [old, new]
        .map(|root| TestRelease { kernel: kernel(), root: TestImage::of(Role::Root, root) });
    let delta = delta(&old.root, &new.root);
    Update { old, new, delta }
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

fn packed_updates() -> [(&'static str, Update); 2] {
    [("squashfs", packed_update(squashfs)), ("erofs", packed_update(erofs))]
}

/// The first repacked segment's body in a delta.
fn repacked(update: &Update) -> (u64, std::ops::Range<usize>) {
    let head = update.head();
    let parts = (0..head.segments()).filter_map(|index| Some((index, head.part(index)?)));
    let (index, part) = parts.into_iter().find(|(_, part)| part.kind == Kind::Repack).unwrap();
    (index, part.body.start as usize..part.body.end as usize)
}

#[test]
fn packed_blocks_are_made_of_what_the_booted_ones_hold() {
    for (name, update) in packed_updates() {
        let outcome = update.stage(Some(&update.delta), &[], &update.old.root.bytes);
        assert_eq!(outcome.frames, 0, "{name}");
        let head = update.head();
        let parts = || (0..head.segments()).filter_map(|index| head.part(index));
        let bodies: u64 = parts().map(|part| part.body.end - part.body.start).sum();
        assert!(parts().any(|part| part.kind == Kind::Repack), "{name}");
        let mut encoder = FrameEncoder::new(1).unwrap();
        let kernel = update.new.kernel.bytes.chunks(SEGMENT);
        let frames: usize = kernel.map(|segment| encoder.encode(segment).unwrap().len()).sum();
        // Of the root there is nothing but the bodies, and what says where things are.
        let fetched = outcome.staged.download().fetched;
        let besides = fetched - bodies - frames as u64;
        assert!(besides < 3 * 4096, "{name}: {besides}");
        let full = update.new.root.full.len() as u64;
        assert!(bodies < full / 10, "{name}: {bodies} of {full}");
    }
}

#[test]
fn a_damaged_repacked_body_costs_its_frame() {
    for (name, update) in packed_updates() {
        let (_, body) = repacked(&update);
        let middle = body.start + body.len() / 2;
        for (at, flip) in [(body.end - 10, 0xFF), (middle, 0x10), (body.start, 1)] {
            let mut bad = update.delta.clone();
            bad[at] ^= flip;
            let outcome = update.stage(Some(&bad), &[], &update.old.root.bytes);
            assert_eq!(outcome.frames, 1, "{name}: {at} of {body:?}");
        }
    }
}

/// A block that a repacked segment is made of was written since.
#[test]
fn a_booted_slot_with_another_block_is_said_to_hold_another_image() {
    for (name, update) in packed_updates() {
        let head = update.head();
        let (index, bytes) = repacked(&update);
        let part = head.part(index).unwrap();
        let len = (part.segment.end - part.segment.start) as usize;
        let bytes = &update.delta[bytes];
        let body = Body::parse(part.kind, bytes, len, head.from_size).unwrap();
        let source = body.sources.iter().max_by_key(|range| range.end - range.start).unwrap();
        let mut other = update.old.root.bytes.clone();
        let middle = (source.start + (source.end - source.start) / 2) as usize;
        other[middle..middle + 100].fill(0x55);
        let outcome = update.stage(Some(&update.delta), &[], &other);
        assert!(outcome.frames >= 1, "{name}");
        // What is said of it, and only of a slot that does.
        for (booted, is_other) in [(&other, true), (&update.old.root.bytes, false)] {
            let disk = MemoryDisk::new(booted.len() as u64, 4096);
            disk.write_at(0, booted).unwrap();
            let booted = Partition { role: Role::Root, device: &disk, offset: 0 };
            let delta = Delta::new(&head, booted);
            let trouble = DeltaTrouble::Decode(DecodeError::Nonsense);
            let said = delta.explained(trouble, &body, &mut vec![0; SEGMENT]);
            assert_eq!(matches!(said, DeltaTrouble::OtherImage), is_other, "{name}: {said:?}");
            let expected = "the booted slot holds another image than the delta was made of";
            assert!(!is_other || said.to_string() == expected, "{said}");
        }
    }
}
