//! The process that makes a delta, by itself.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};

use payload_tools::format::delta::{Head, head_len};
use payload_tools::format::seekable::{FrameEncoder, Writer};
use payload_tools::format::{Image, Role, SEGMENT, Salt};
use payload_tools::testing::noise;
use payload_tools::tree::TreeBuilder;
use serde_json::json;

use crate::publisher::Wanted;
use crate::served::program;

/// A folder as a server has it while a delta is made.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("out"), "").unwrap();
        std::fs::create_dir(folder.path().join("scratch")).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn has(&self, image: &Image, full: &[u8], levels: &[u8]) {
        let folder = self.path().join("payloads/images").join(image.root.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("full"), full).unwrap();
        std::fs::write(folder.join("levels"), levels).unwrap();
    }

    /// Starts the process and tells it what to make.
    fn make(&self, from: &Image, to: &Image) -> Child {
        let [payloads, out, scratch] =
            ["payloads", "out", "scratch"].map(|name| self.path().join(name));
        let job = json!({
            "payloads": payloads, "out": out, "scratch": scratch, "from": from, "to": to,
            "threads": 2, "memory_bytes": 512 << 20
        });
        let mut maker = program();
        maker.arg("--delta-maker").stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut maker = maker.spawn().unwrap();
        writeln!(maker.stdin.as_mut().unwrap(), "{job}").unwrap();
        maker
    }
}

/// What it says until it ends; not waited for, it still shows what it had.
fn said(maker: &mut Child) -> String {
    let mut said = String::new();
    maker.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

#[test]
fn what_makes_a_delta_is_bounded_and_locked_in() {
    let folder = Folder::new();
    let image = |counter| {
        let mut image = Wanted::release(counter).manifest().images[0].clone();
        image.size = 160 << 20;
        folder.has(&image, b"no payload", b"");
        image
    };
    let mut maker = folder.make(&image(1), &image(2));
    let said = said(&mut maker);
    assert!(said.contains("the seek table of images/"), "{said}");
    let [limits, status] = ["limits", "status"]
        .map(|file| std::fs::read_to_string(format!("/proc/{}/{file}", maker.id())).unwrap());
    maker.wait().unwrap();
    for (name, value) in [("CapEff", "0000000000000000"), ("NoNewPrivs", "1"), ("Seccomp", "2")] {
        assert!(status.lines().any(|line| line == format!("{name}:\t{value}")), "{status}");
    }
    for (name, bytes) in [("Max data size", 512 << 20), ("Max file size", 171 << 20)] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let found: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
        assert_eq!(found, [bytes, bytes], "{name}");
    }
}

/// With threads, a patch, and something new.
#[test]
fn a_process_that_is_locked_in_makes_a_delta() {
    let folder = Folder::new();
    let image = |content: &[u8]| {
        let builder = TreeBuilder::new(Salt::default());
        let size = content.len() as u64;
        let tree = builder.build(&content, size, &|_| ()).unwrap();
        let image = builder.image(Role::Root, size, &tree);
        let mut full = Writer::new(Vec::new(), size);
        let mut encoder = FrameEncoder::new(1).unwrap();
        for segment in content.chunks(SEGMENT) {
            full.frame(&encoder.encode(segment).unwrap()).unwrap();
        }
        folder.has(&image, &full.finish().unwrap(), &tree.levels);
        image
    };
    let old = noise(1, 2 * SEGMENT + 4096);
    let mut new = old.clone();
    new[SEGMENT..].iter_mut().step_by(99).for_each(|byte| *byte ^= 1);
    new.extend(noise(2, 4096));
    let (from, to) = (image(&old), image(&new));
    let mut maker = folder.make(&from, &to);
    let said = said(&mut maker);
    let status = maker.wait().unwrap();
    assert!(status.success(), "{status}: {said}");
    let made = std::fs::read(folder.path().join("out")).unwrap();
    let head = Head::parse(&made[..head_len(to.size) as usize], made.len() as u64).unwrap();
    head.expect(&from.root, &to.root, to.size).unwrap();
    assert!(made.len() < SEGMENT / 4, "{}", made.len());
    let left = std::fs::read_dir(folder.path().join("scratch")).unwrap().count();
    assert_eq!(left, 0, "what was unpacked is gone");
}
