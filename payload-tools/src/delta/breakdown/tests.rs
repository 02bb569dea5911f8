use super::*;
use crate::delta::files::tests::{bytes_of, erofs_of, image_of, put, squashfs_of, text};
use crate::delta::{DeltaImage, DeltaPlan, Tally, make};
use crate::format::delta::Kind;
use crate::format::{Hash, SEGMENT};
use crate::testing::{noise, uki};

/// Two images and the delta from one to the other.
struct Pair {
    old: Vec<u8>,
    new: Vec<u8>,
    delta: Vec<u8>,
    tally: Tally,
}

impl Pair {
    fn new(old: Vec<u8>, new: Vec<u8>) -> Self {
        let out = tempfile::NamedTempFile::new().unwrap();
        let image = |bytes: &[u8]| DeltaImage { root: Hash::of(bytes), size: bytes.len() as u64 };
        let (level, threads) = (6, NonZero::new(2).unwrap());
        let plan = DeltaPlan { old: image(&old), new: image(&new), level, threads };
        let tally = make(&plan, (&old, &new), out.as_file(), &|_| ()).unwrap();
        Self { old, new, delta: fs_err::read(out.path()).unwrap(), tally }
    }

    fn head(&self) -> Head {
        let len = head_len(self.new.len() as u64) as usize;
        Head::parse(&self.delta[..len], self.delta.len() as u64).unwrap()
    }

    fn spent(&self, new: &[u8], old: Option<&[u8]>) -> Result<Breakdown, BreakdownError> {
        let old = old.as_ref().map(|old| (old as &dyn ReadAt, old.len() as u64));
        let new = (&new as &dyn ReadAt, new.len() as u64);
        breakdown((&self.delta, &self.head()), new, old, NonZero::new(2).unwrap(), &|_| ())
    }

    /// What is spent, which adds up to the delta, and to the image.
    #[track_caller]
    fn breakdown(&self, old: Option<&[u8]>) -> Breakdown {
        let spent = self.spent(&self.new, old).unwrap();
        let sum = |of: fn(&ClassShare) -> u64| spent.classes.values().map(of).sum::<u64>();
        assert_eq!(spent.head + sum(|share| share.bytes), self.delta.len() as u64);
        assert_eq!(sum(|share| share.image_bytes), self.new.len() as u64);
        let files: u64 = spent.files.iter().map(|file| file.bytes).sum();
        let metadata = spent.classes.get(&FileClass::Metadata).map_or(0, |share| share.bytes);
        assert_eq!(spent.head + files + metadata, self.delta.len() as u64);
        spent
    }
}

const MODULE: &str = "usr/lib/modules/6.1/kernel/net.ko";
const KERNEL: &str = "boot/vmlinuz-6.1";
const PROGRAM: &str = "usr/bin/program";
const SAME: &str = "usr/bin/same";
const NEW: &str = "usr/share/new";

fn elf(seed: u64, len: usize) -> Vec<u8> {
    [&b"\x7FELF"[..], &noise(seed, len)].concat()
}

/// Images of a system in which a kernel is new, a program and a module have changed here and there, a
/// document has come, and most of it, some small files among it, is as it was.
fn systems() -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| put(folder.path(), path, bytes);
    let change = |mut bytes: Vec<u8>| {
        let changes = noise(9, bytes.len() / 1000);
        bytes.iter_mut().skip(500).step_by(1000).zip(changes).for_each(|(byte, by)| *byte ^= by);
        bytes
    };
    (0..20).for_each(|n| put(&format!("etc/{n}"), &noise(n + 20, 3000)));
    let (module, program) = (elf(3, 100_000), elf(4, 400_000));
    put(SAME, &elf(5, 2 << 20));
    put(KERNEL, &noise(1, 300_000));
    put(MODULE, &module);
    put(PROGRAM, &program);
    let image = || bytes_of(&image_of(folder.path(), 8 << 10, &["-O", "^has_journal"]));
    let old = image();
    put(KERNEL, &noise(2, 300_000));
    put(MODULE, &change(module));
    put(PROGRAM, &change(program));
    put(NEW, &noise(6, 50_000));
    (old, image())
}

#[test]
fn what_is_new_in_a_system_is_what_its_delta_costs() {
    let (old, new) = systems();
    let pair = Pair::new(old, new);
    assert!(pair.tally.kinds.contains_key(&Kind::Patch), "{:?}", pair.tally);
    let spent = pair.breakdown(Some(&pair.old));
    let cost = |path: &str| {
        let file = spent.files.iter().find(|file| file.path == path);
        file.map_or(0, |file| file.bytes)
    };
    let dearest: Vec<_> = spent.files[..4].iter().map(|file| file.path.as_str()).collect();
    assert_eq!(dearest, [KERNEL, NEW, PROGRAM, MODULE], "{spent:#?}");
    assert!((298_000..302_000).contains(&cost(KERNEL)), "{spent:#?}");
    assert!((49_500..51_000).contains(&cost(NEW)), "{spent:#?}");
    // 400 bytes that are others, and where they are.
    assert!((400..1500).contains(&cost(PROGRAM)), "{spent:#?}");
    assert!((100..400).contains(&cost(MODULE)), "{spent:#?}");
    assert!(cost(SAME) < 200, "{spent:#?}");
    let class = |class| spent.classes[&class];
    assert_eq!(class(FileClass::PackedKernel).bytes, cost(KERNEL));
    assert_eq!(class(FileClass::KernelModule).files, 1);
    assert_eq!(class(FileClass::Elf).files, 2);
    assert_eq!(class(FileClass::Data).files, 21);
    // The delta says the same to who has the new image only.
    assert_eq!(pair.breakdown(None), spent);
}

/// Packed images in which a program and a document have come, and a long document has changed.
#[test]
fn what_is_new_in_packed_blocks_is_what_their_delta_costs() {
    let folder = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| put(folder.path(), path, bytes);
    let long = text(7, 1 << 20);
    put(SAME, &elf(5, 2 << 20));
    put("usr/share/long", &long);
    (0..40).for_each(|n| put(&format!("etc/{n}"), &text(n + 20, 3000)));
    let options = ["-all-time", "0", "-mkfs-time", "0", "-all-root"];
    let images =
        || [squashfs_of(folder.path(), "zstd", &options), erofs_of(folder.path(), &["-zlz4hc"])];
    let old = images();
    put(PROGRAM, &elf(4, 400_000));
    put(NEW, &noise(6, 50_000));
    let mut changed = long;
    changed[500_000..500_100].copy_from_slice(&noise(8, 100));
    put("usr/share/long", &changed);
    for (old, new) in old.into_iter().zip(images()) {
        let pair = Pair::new(old, new);
        assert!(pair.tally.kinds.contains_key(&Kind::Repack), "{:?}", pair.tally);
        let spent = pair.breakdown(Some(&pair.old));
        let cost = |path: &str| {
            let file = spent.files.iter().find(|file| file.path == path);
            file.map_or(0, |file| file.bytes)
        };
        // Its blocks are new; so are those of metadata and some with small files, which cost less.
        assert_eq!(spent.files[0].path, PROGRAM, "{spent:#?}");
        assert!((200_000..420_000).contains(&cost(PROGRAM)), "{spent:#?}");
        assert!((20_000..60_000).contains(&cost(NEW)), "{spent:#?}");
        assert!(cost(SAME) < 100, "{spent:#?}");
        assert!(spent.classes[&FileClass::Metadata].bytes < 60_000, "{spent:#?}");
        assert_eq!(spent.classes[&FileClass::Elf].files, 2);
        assert_eq!(spent.classes[&FileClass::Data].files, 42, "{spent:#?}");
        assert_eq!(spent.guessed, 0);
        // All bytes count alike where nobody knows which blocks are new.
        let guess = pair.breakdown(None);
        assert_eq!(guess.guessed, pair.tally.kinds[&Kind::Repack].segments);
        assert_eq!(guess.files[0].path, SAME, "{guess:#?}");
    }
}

#[test]
fn images_that_a_delta_is_not_of_are_refused() {
    let old = noise(1, SEGMENT + 8192);
    let mut new = old.clone();
    new.rotate_left(100);
    let pair = Pair::new(old, new);
    let refused = |new: &[u8], old: Option<&[u8]>| pair.spent(new, old).unwrap_err();
    let (good_new, good_old) = (&pair.new[..], Some(&pair.old[..]));
    let shorter = pair.new[..SEGMENT].to_vec();
    let size =
        |image, error| matches!(error, BreakdownError::Size { image: of, .. } if of == image);
    assert!(size("new", refused(&shorter, good_old)));
    assert!(size("old", refused(good_new, Some(&shorter))));
    let mut other = pair.new.clone();
    other[SEGMENT] ^= 1;
    let error = refused(&other, good_old);
    assert!(matches!(error, BreakdownError::OtherNew { index: 1 }), "{error:?}");
    let error = refused(good_new, Some(&other));
    // Whichever thread comes first.
    assert!(matches!(error, BreakdownError::OtherOld { .. }), "{error:?}");
}

/// Bytes from anywhere end in a refusal, or in sums that add up.
#[test]
fn a_damaged_delta_is_refused() {
    let old = noise(1, 200_000);
    let old = old[..196_608].to_vec();
    let mut new = old.clone();
    new.iter_mut().step_by(5000).for_each(|byte| *byte ^= 1);
    let mut pair = Pair::new(old, new);
    let head = head_len(pair.new.len() as u64) as usize;
    let good = pair.delta.clone();
    for at in head..good.len() {
        pair.delta = good.clone();
        pair.delta[at] ^= 0x55;
        assert!(pair.spent(&pair.new, Some(&pair.old)).is_err(), "byte {at}");
        if pair.spent(&pair.new, None).is_ok() {
            pair.breakdown(None);
        }
    }
}

#[test]
fn a_kernel_image_is_broken_down_by_sections_and_noise_not_at_all() {
    let image = |seed, text: &[u8]| {
        let mut image = uki(&[(".osrel", text), (".linux", &noise(seed, 90_000))]);
        image.resize(image.len().next_multiple_of(4096), 0);
        image
    };
    let spent = Pair::new(image(1, b"1"), image(2, b"2")).breakdown(None);
    assert_eq!(spent.files[0].path, ".linux");
    assert!(spent.classes[&FileClass::PackedKernel].bytes > 89_000, "{spent:?}");
    let spent = Pair::new(noise(1, 8192), noise(2, 8192)).breakdown(None);
    assert_eq!((spent.files.len(), spent.classes.len()), (0, 1));
    let zeroes = Pair::new(noise(1, 8192), vec![0; 8192]).breakdown(None);
    assert_eq!(
        zeroes.classes[&FileClass::Metadata],
        ClassShare { files: 0, image_bytes: 8192, bytes: 0 }
    );
}

/// A frame after old content cannot be opened without it: then what is new is guessed, and that is
/// said.
#[test]
fn without_the_old_image_what_follows_it_is_guessed() {
    use crate::format::delta::{Body, Method, SourceSum};
    use crate::format::seekable::FrameEncoder;
    let old = noise(1, 8192);
    let new = [noise(2, 4096), old[..4096].to_vec()].concat();
    let frame = FrameEncoder::encode_with_prefix(9, &old, &new).unwrap();
    let body =
        Body::encode(&[0..4096, 4096..8192], Some(SourceSum::of(&old)), Method::Prefix, &frame);
    let segments = [(Kind::Prefix, body.len() as u32)];
    let [from, to] = [&old, &new].map(|bytes| Hash::of(bytes));
    let head = Head::encode((&from, 8192), (&to, 8192), &segments);
    let delta = [head, body].concat();
    let tally = Tally::default();
    let pair = Pair { old, new, delta, tally };
    assert_eq!(pair.breakdown(None).guessed, 1);
    assert_eq!(pair.breakdown(Some(&pair.old)).guessed, 0);
}
