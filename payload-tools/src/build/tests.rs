use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::bundle::{Bundle, BundleError};
use crate::format::{BLOCK, GROUP, SEGMENT};
use crate::testing::{osrel, uki};
use crate::verify::{Decoding, expand};

struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    /// A kernel that is not a whole number of blocks, and a root of three
    /// segments, the second of which is zero.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = osrel("demo-x86_64", "2", 2);
        let sections: [(&str, &[u8]); 3] =
            [(".osrel", text.as_bytes()), (".cmdline", b"quiet panic=10"), (".linux", &[7; 5000])];
        fs_err::write(folder.path().join("kernel"), uki(&sections)).unwrap();
        let mut root: Vec<u8> = (0..2 * SEGMENT + GROUP + BLOCK).map(|n| (n / 97) as u8).collect();
        root[SEGMENT..2 * SEGMENT].fill(0);
        root[1080..1082].copy_from_slice(&[0x53, 0xEF]);
        fs_err::write(folder.path().join("root"), root).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn plan(&self) -> BuildPlan {
        let compatible = "demo-x86_64".parse().unwrap();
        let (salt, threads) = (default_salt(&compatible), NonZero::new(3).unwrap());
        BuildPlan {
            facts: ReleaseFacts {
                release: "2".parse().unwrap(),
                counter: 2,
                compatible,
                min_from: 0,
                channels: vec!["stable".parse().unwrap()],
                floor: false,
                downgrade_from: None,
            },
            kernel: self.path("kernel"),
            root: self.path("root"),
            encoding: Encoding { level: 3, salt, threads },
        }
    }

    fn build(&self, out: &str, change: impl FnOnce(&mut BuildPlan)) -> Result<Built, BuildError> {
        let mut plan = self.plan();
        change(&mut plan);
        build(&plan, &self.path(out), &|_| ())
    }

    fn kernel_error(&self, sections: &[(&str, &[u8])]) -> KernelError {
        fs_err::write(self.path("kernel"), uki(sections)).unwrap();
        match self.build("refused", |_| ()).unwrap_err() {
            BuildError::Kernel { source, .. } => source,
            other => panic!("{other:?}"),
        }
    }
}

/// Every file below a folder with its bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                files.push((name, fs_err::read(path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_release_holds_its_images() {
    let workshop = Workshop::new();
    let done = AtomicU64::new(0);
    let count = |bytes| _ = done.fetch_add(bytes, Ordering::Relaxed);
    let built = build(&workshop.plan(), &workshop.path("out"), &count).unwrap();
    assert_eq!(built.warnings, []);
    let release = Bundle::open(workshop.path("out")).unwrap();
    let manifest = release.manifest().unwrap();
    assert_eq!(Hash::of(&release.manifest_bytes().unwrap()), built.manifest_sha256);
    assert_eq!(manifest.built.to_string(), "2026-11-01T00:00:00Z");
    assert_eq!(release.facts().unwrap(), workshop.plan().facts);
    let mut sizes = 0;
    for (role, name) in [(Role::Kernel, "kernel"), (Role::Root, "root")] {
        let image = manifest.image(role).unwrap();
        let mut wanted = fs_err::read(workshop.path(name)).unwrap();
        wanted.resize(wanted.len().next_multiple_of(BLOCK), 0);
        assert_eq!(image.size, wanted.len() as u64);
        sizes += image.size;
        let full = release.image_full(&image.root).unwrap();
        let all = full.bytes(u64::MAX).unwrap();
        // What any zstd decoder makes of the file, frame after frame.
        assert!(zstd::decode_all(all.as_slice()).unwrap() == wanted, "{role}");
        let table = release.seek_table(image, &full).unwrap();
        let got = std::sync::Mutex::new(vec![0; wanted.len()]);
        let levels = release.levels(image).unwrap();
        expand(&full, &table, &levels, (Decoding::Here, NonZero::<usize>::MIN), &|group| {
            let start = group.offset() as usize;
            got.lock().unwrap()[start..start + group.bytes().len()].copy_from_slice(group.bytes());
            Ok(())
        })
        .unwrap();
        assert!(got.into_inner().unwrap() == wanted, "{role}");
    }
    assert_eq!(done.into_inner(), sizes);
}

#[test]
fn the_same_input_gives_the_same_bytes_whatever_the_threads() {
    let workshop = Workshop::new();
    workshop.build("a", |plan| plan.encoding.threads = NonZero::<usize>::MIN).unwrap();
    workshop.build("b", |plan| plan.encoding.threads = NonZero::new(5).unwrap()).unwrap();
    assert!(contents(&workshop.path("a")) == contents(&workshop.path("b")));
    workshop.build("c", |plan| plan.encoding.salt = Salt::default()).unwrap();
    assert!(contents(&workshop.path("a")) != contents(&workshop.path("c")));
}

#[test]
fn a_kernel_without_a_command_line_is_refused() {
    let workshop = Workshop::new();
    let text = osrel("demo-x86_64", "2", 2);
    let osrel = (".osrel", text.as_bytes());
    assert!(matches!(workshop.kernel_error(&[osrel]), KernelError::Cmdline(_)));
    let twice: [(&str, &[u8]); 3] = [osrel, (".cmdline", b"a"), (".cmdline", b"b")];
    assert!(matches!(workshop.kernel_error(&twice), KernelError::Cmdline(_)));
    for empty in [&b" \n"[..], &[0; 16]] {
        assert!(matches!(
            workshop.kernel_error(&[osrel, (".cmdline", empty)]),
            KernelError::CmdlineEmpty
        ));
    }
    assert!(!workshop.path("refused").exists());
}

#[test]
fn a_kernel_that_names_another_release_is_refused() {
    let workshop = Workshop::new();
    let named = [
        (osrel("demo-x86_64", "1", 2), "IMAGE_VERSION"),
        (osrel("other", "2", 2), "SEESAW_COMPATIBLE"),
        (osrel("demo-x86_64", "2", 3), "SEESAW_COUNTER"),
    ];
    for (text, wanted) in named {
        let sections = [(".osrel", text.as_bytes()), (".cmdline", b"quiet")];
        match workshop.kernel_error(&sections) {
            KernelError::Differs { key, .. } => assert_eq!(key, wanted),
            other => panic!("{other:?}"),
        }
    }
    let without = workshop.kernel_error(&[(".cmdline", b"quiet")]);
    assert!(matches!(without, KernelError::Uki(_)));
    fs_err::write(workshop.path("kernel"), b"ELF").unwrap();
    assert!(matches!(
        workshop.build("refused", |_| ()).unwrap_err(),
        BuildError::Kernel { source: KernelError::Uki(_), .. }
    ));
}

#[test]
fn a_kernel_that_would_stand_still_after_a_panic_is_warned_of() {
    let workshop = Workshop::new();
    let text = osrel("demo-x86_64", "2", 2);
    let sections: [(&str, &[u8]); 2] =
        [(".osrel", text.as_bytes()), (".cmdline", b"quiet nopanic=10")];
    fs_err::write(workshop.path("kernel"), uki(&sections)).unwrap();
    let built = workshop.build("out", |_| ()).unwrap();
    assert_eq!(built.warnings, [Warning::NoPanicReboot]);
}

#[test]
fn what_no_device_could_use_is_warned_of() {
    let workshop = Workshop::new();
    let no_way_up = workshop.build("up", |plan| plan.facts.min_from = 2).unwrap();
    assert_eq!(no_way_up.warnings, [Warning::NoWayUp]);
    let from_before = workshop.build("before", |plan| plan.facts.min_from = 1).unwrap();
    assert_eq!(from_before.warnings, []);
    fs_err::write(workshop.path("root"), b"a text").unwrap();
    let no_root = workshop.build("no-root", |_| ()).unwrap();
    assert_eq!(no_root.warnings, [Warning::NoFileSystem]);
}

#[test]
fn nothing_is_left_of_a_build_that_failed_and_nothing_is_overwritten() {
    let workshop = Workshop::new();
    workshop.build("out", |_| ()).unwrap();
    let exists = workshop.build("out", |_| ()).unwrap_err();
    assert!(matches!(exists, BuildError::Exists(_)));
    fs_err::write(workshop.path("root"), b"").unwrap();
    let empty = workshop.build("new", |_| ()).unwrap_err();
    assert!(matches!(
        empty,
        BuildError::Encode { role: Role::Root, source: EncodeError::Shape(_), .. }
    ));
    let names = fs_err::read_dir(workshop.folder.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

/// Fails where segment 1 begins.
struct BadSector;

impl crate::ReadAt for BadSector {
    fn fill_at(&self, _: &mut [u8], offset: u64) -> io::Result<()> {
        if offset == SEGMENT as u64 { Err(io::Error::other("bad sector")) } else { Ok(()) }
    }
}

/// The worker that fails must not leave the others waiting for its segment.
#[test]
fn a_source_that_fails_ends_the_build() {
    let (send, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let plan = Workshop::new().plan();
        let len = 8 * SEGMENT as u64;
        let encoding = &plan.encoding;
        let job = encode::Job { source: &BadSector, len, encoding, progress: &|_| () };
        send.send(job.run(Vec::new()))
    });
    let result = ended.recv_timeout(std::time::Duration::from_secs(60)).expect("it waits for ever");
    assert!(matches!(result.unwrap_err(), EncodeError::Io(_)));
}

/// A changed byte anywhere in a payload is found.
#[test]
fn a_damaged_payload_is_found() {
    let workshop = Workshop::new();
    let built = workshop.build("out", |_| ()).unwrap();
    let root = &built.images[1].image;
    let path = workshop.path("out").join(full_name(&root.root));
    let good = fs_err::read(&path).unwrap();
    for at in (0..good.len()).step_by(good.len() / 61) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs_err::write(&path, bad).unwrap();
        let release = Bundle::open(workshop.path("out")).unwrap();
        let full = release.image_full(&root.root).unwrap();
        let levels = release.levels(root).unwrap();
        let found = match release.seek_table(root, &full) {
            Err(BundleError::SeekTable { .. }) => true,
            Err(_) => false,
            Ok(table) => {
                expand(&full, &table, &levels, (Decoding::Here, NonZero::<usize>::MIN), &|_| Ok(()))
                    .is_err()
            }
        };
        assert!(found, "byte {at} of {}", good.len());
    }
}
