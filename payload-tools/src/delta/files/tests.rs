use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::format::BLOCK;
use crate::testing::noise;

/// Reads an image, and counts how often.
struct Counted<'a>(&'a [u8], AtomicU64);

impl ReadAt for Counted<'_> {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.fill_at(buf, offset)
    }
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// An image of so many KiB with a copy of the folder.
fn image_of(folder: &Path, kib: u64, options: &[&str]) -> TempDir {
    let made = tempfile::tempdir().unwrap();
    let mut command = tool("mke2fs");
    command
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-d"])
        .arg(folder)
        .args(options);
    command.arg(made.path().join("image")).arg(format!("{kib}k"));
    let status = command.status().expect("this test needs mke2fs (package e2fsprogs)");
    assert!(status.success(), "{command:?}");
    made
}

fn debugfs(image: &TempDir, requests: &str) {
    let mut command = tool("debugfs");
    command.args(["-w", "-f", "-"]).arg(image.path().join("image")).stdin(Stdio::piped());
    let mut child = command.spawn().expect("this test needs debugfs (package e2fsprogs)");
    child.stdin.take().unwrap().write_all(requests.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn bytes_of(image: &TempDir) -> Vec<u8> {
    fs_err::read(image.path().join("image")).unwrap()
}

fn found(image: &[u8]) -> BTreeMap<String, ImageFile> {
    let found = files(&image.to_vec(), image.len() as u64).unwrap();
    let starts: Vec<u64> =
        found.iter().map(|file| file.ranges.first().map_or(0, |r| r.start)).collect();
    assert!(starts.is_sorted(), "in the order in which they lie there");
    let named = |file: ImageFile| (String::from_utf8(file.path.clone()).unwrap(), file);
    found.into_iter().map(named).collect()
}

fn content(image: &[u8], file: &ImageFile) -> Vec<u8> {
    let piece = |range: &Range<u64>| &image[range.start as usize..range.end as usize];
    let mut bytes = file.ranges.iter().map(piece).collect::<Vec<_>>().concat();
    assert_eq!(bytes.len(), (file.len as usize).next_multiple_of(BLOCK));
    bytes.truncate(file.len as usize);
    bytes
}

fn put(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, bytes).unwrap();
}

/// All that the image should say: each file once, with its bytes.
fn check(image: &[u8], expected: &BTreeMap<String, Vec<u8>>) {
    let found = found(image);
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(found.keys().collect()), names(expected.keys().collect()));
    for (path, bytes) in expected {
        let file = &found[path];
        assert!(content(image, file) == *bytes, "{path}: {:?}", file.ranges);
        let merged = file.ranges.windows(2).all(|pair| pair[0].end != pair[1].start);
        assert!(merged && file.ranges.iter().all(|range| range.start % BLOCK as u64 == 0));
    }
}

/// Many small files, one of 30 MiB, and one in a deep folder.
fn tree() -> (TempDir, BTreeMap<String, Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = BTreeMap::from([
        ("big".to_owned(), noise(1, 30 << 20)),
        (format!("{}file", "folder/".repeat(80)), noise(2, 5000)),
        ("empty".to_owned(), Vec::new()),
    ]);
    for n in 0..3000 {
        let path = format!("many/a file with a rather long name {n}");
        files.insert(path, noise(n + 3, 1 + n as usize * 7));
    }
    for (path, bytes) in &files {
        put(folder.path(), path, bytes);
    }
    symlink("big", folder.path().join("symlink")).unwrap();
    symlink("/a/long/way".repeat(20), folder.path().join("long symlink")).unwrap();
    (folder, files)
}

#[test]
fn every_file_is_found_where_it_lies() {
    let (folder, mut files) = tree();
    fs_err::hard_link(folder.path().join("big"), folder.path().join("a link")).unwrap();
    fs_err::hard_link(folder.path().join("big"), folder.path().join("many/link")).unwrap();
    let big = files.remove("big").unwrap();
    files.insert("a link".to_owned(), big);
    let image = image_of(folder.path(), 120 << 10, &[]);
    check(&bytes_of(&image), &files);
    // Directories by hash, with blocks that hold no names.
    let indexed = tool("e2fsck").args(["-fyD"]).arg(image.path().join("image")).status();
    assert!(indexed.unwrap().code().is_some_and(|code| code < 4));
    check(&bytes_of(&image), &files);
}

#[test]
fn without_what_is_newer_than_extents_too() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a/b", &noise(1, 100_000));
    let features = "^64bit,^flex_bg,^metadata_csum,^has_journal,^filetype,^extra_isize";
    for options in [&["-O", features, "-I", "128"][..], &["-I", "1024"], &["-O", "^huge_file"]] {
        let image = bytes_of(&image_of(folder.path(), 8 << 10, options));
        check(&image, &BTreeMap::from([("a/b".to_owned(), noise(1, 100_000))]));
    }
}

#[test]
fn where_blocks_are_found_otherwise_there_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a", &noise(1, 100_000));
    for options in
        [&["-b", "1024"][..], &["-O", "^extents,^64bit"], &["-O", "meta_bg,^resize_inode"]]
    {
        let image = bytes_of(&image_of(folder.path(), 8 << 10, options));
        check(&image, &BTreeMap::new());
    }
    let image = bytes_of(&image_of(folder.path(), 8 << 10, &["-O", "inline_data"]));
    assert_eq!(found(&image).len(), 1);
    for none in [Vec::new(), vec![0; 1 << 20], noise(1, 1 << 20)] {
        check(&none, &BTreeMap::new());
    }
}

#[test]
fn what_is_in_the_inode_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "small", b"in the inode");
    put(folder.path(), "whole", &noise(1, 100_000));
    put(folder.path(), "secret", &noise(2, 100_000));
    let image = image_of(folder.path(), 8 << 10, &["-O", "inline_data,encrypt"]);
    // Encrypted, with extents.
    debugfs(&image, "set_inode_field secret flags 0x80800\n");
    let found = found(&bytes_of(&image));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["whole"]);
}

#[test]
fn files_with_holes_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let zeroes = [noise(1, BLOCK), vec![0; 2 * BLOCK], noise(2, BLOCK)].concat();
    put(folder.path(), "zeroes", &zeroes);
    put(folder.path(), "whole", &noise(3, 3 * BLOCK));
    let hole = fs_err::File::create(folder.path().join("hole")).unwrap();
    hole.file().write_all_at(&noise(4, 100), 5 << 30).unwrap();
    put(folder.path(), "reserved", &noise(5, BLOCK));
    put(folder.path(), "ahead", &noise(6, BLOCK));
    put(folder.path(), "shorter", &noise(7, 3 * BLOCK));
    let image = image_of(folder.path(), 8 << 10, &[]);
    let mut requests = "fallocate reserved 1 3\nset_inode_field reserved size 16384\n".to_owned();
    requests += "fallocate ahead 1 3\nset_inode_field shorter size 5000\n";
    debugfs(&image, &requests);
    let bytes = bytes_of(&image);
    let whole = [("whole", 3, 3 * BLOCK), ("ahead", 6, BLOCK), ("shorter", 7, 5000)];
    let whole = whole.map(|(path, seed, len)| (path.to_owned(), noise(seed, len)));
    check(&bytes, &BTreeMap::from(whole));

    let all = files_with_holes(&bytes, bytes.len() as u64).unwrap();
    let file = |path: &[u8]| all.iter().find(|file| file.path == path).unwrap();
    assert!(file(b"zeroes").has_holes() && file(b"hole").has_holes());
    assert_eq!((all.len(), file(b"hole").len), (6, (5 << 30) + 100));
    assert!(file(b"reserved").has_holes());
    let lying = |file: &ImageFile| {
        let piece = |range: &Range<u64>| &bytes[range.start as usize..range.end as usize];
        file.ranges.iter().map(piece).collect::<Vec<_>>().concat()
    };
    assert_eq!(lying(file(b"zeroes")), [noise(1, BLOCK), noise(2, BLOCK)].concat());
    assert_eq!(lying(file(b"hole"))[..100], noise(4, 100));
}

/// A small image with a file of some 1,600 pieces, whose extents need a tree of
/// two levels.
fn fragmented() -> (TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    (0..3400).for_each(|n| put(folder.path(), &format!("{n:04}"), &noise(n, 1 + n as usize % 50)));
    let image =
        image_of(folder.path(), 17 << 10, &["-N", "3500", "-I", "128", "-O", "^has_journal"]);
    let pieces = noise(9, 1600 * BLOCK);
    fs_err::write(image.path().join("pieces"), &pieces).unwrap();
    let mut requests: String = (0..3400).step_by(2).map(|n| format!("rm /{n:04}\n")).collect();
    requests += &format!("write {} pieces\n", image.path().join("pieces").display());
    debugfs(&image, &requests);
    (image, pieces)
}

#[test]
fn a_file_in_pieces_is_in_order() {
    let (image, pieces) = fragmented();
    let bytes = bytes_of(&image);
    let mut expected = BTreeMap::from([("pieces".to_owned(), pieces)]);
    for n in (1..3400).step_by(2) {
        expected.insert(format!("{n:04}"), noise(n, 1 + n as usize % 50));
    }
    check(&bytes, &expected);
    let pieces = &found(&bytes)["pieces"];
    assert!(pieces.ranges.len() > 1400, "{}", pieces.ranges.len());
}

/// What must hold of any image.
fn check_hostile(image: &[u8]) -> Result<(), TestCaseError> {
    let counted = Counted(image, AtomicU64::new(0));
    let size = image.len() as u64;
    let files = files_with_holes(&counted, size).unwrap();
    for range in files.iter().flat_map(|file| &file.ranges) {
        prop_assert!(range.start < range.end && range.end <= size);
    }
    // Each block and extent, and each of 3,500 inodes twice with its group.
    let reads = counted.1.load(Ordering::Relaxed);
    prop_assert!(reads <= 1 + size / BLOCK as u64 * 2 + 2 * 3 * 3500, "{reads}");
    Ok(())
}

/// Bytes of the image that belong to no file, in blocks that are not empty.
fn structures(image: &[u8]) -> Vec<usize> {
    let files = files(&image.to_vec(), image.len() as u64).unwrap();
    let mut blocks: BTreeMap<usize, &[u8]> = image.chunks(BLOCK).enumerate().collect();
    for range in files.iter().flat_map(|file| &file.ranges) {
        (range.start..range.end).step_by(BLOCK).for_each(|at| {
            blocks.remove(&(at as usize / BLOCK));
        });
    }
    blocks.retain(|_, bytes| bytes.iter().any(|byte| *byte != 0));
    blocks.keys().flat_map(|block| block * BLOCK..(block + 1) * BLOCK).collect()
}

#[test]
fn a_damaged_image_makes_fewer_files_and_ends() {
    let (image, _) = fragmented();
    let bytes = bytes_of(&image);
    let structures = structures(&bytes);
    assert!(structures.len() > 50 * BLOCK);
    let config = ProptestConfig { cases: 192, failure_persistence: None, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    // Half of them in the superblock, the groups and the first inodes.
    let place = prop_oneof![
        0usize..6 * BLOCK,
        any::<prop::sample::Index>().prop_map({
            let structures = structures.clone();
            move |index| structures[index.index(structures.len())]
        })
    ];
    let flips = prop::collection::vec((place, any::<u8>()), 1..12);
    let end = prop_oneof![4 => Just(bytes.len()), 1 => 0..bytes.len()];
    runner
        .run(&(flips, end), |(flips, end)| {
            let mut damaged = bytes.clone();
            flips.into_iter().for_each(|(at, byte)| damaged[at] = byte);
            check_hostile(&damaged[..end])
        })
        .unwrap();
}

#[test]
fn what_leads_back_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a/b/c", &noise(1, 10_000));
    let image = image_of(folder.path(), 8 << 10, &[]);
    // A folder in itself, and the root in it.
    debugfs(&image, "ln a/b a/b/again\nln <2> a/root\n");
    check(&bytes_of(&image), &BTreeMap::from([("a/b/c".to_owned(), noise(1, 10_000))]));
}

#[test]
fn files_beyond_the_end_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    (0..40).for_each(|n| put(folder.path(), &format!("{n:02}"), &noise(n, 10 * BLOCK)));
    let bytes = bytes_of(&image_of(folder.path(), 8 << 10, &["-O", "^has_journal"]));
    let whole = found(&bytes);
    let end = whole["20"].ranges[0].end - 1;
    let cut = found(&bytes[..end as usize]);
    let inside = |file: &&ImageFile| file.ranges.iter().all(|range| range.end <= end);
    assert_eq!(cut.values().collect::<Vec<_>>(), whole.values().filter(inside).collect::<Vec<_>>());
    assert!((1..40).contains(&cut.len()), "{}", cut.len());
}

#[test]
fn an_image_that_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a/b", &noise(1, 10_000));
    let bytes = bytes_of(&image_of(folder.path(), 8 << 10, &[]));
    // It is said to be longer than it is.
    let size = bytes.len() as u64;
    assert!(files(&bytes[..BLOCK].to_vec(), size).is_err());
    assert!(files(&bytes[..1000].to_vec(), size).is_err());
}

#[test]
fn one_block_for_many_folders_is_read_a_bounded_number_of_times() {
    let (image, _) = fragmented();
    let mut bytes = bytes_of(&image);
    // Every inode becomes the root directory, with the names of all.
    let table = {
        let group = &bytes[BLOCK..BLOCK + 64];
        u32::from_le_bytes([group[8], group[9], group[10], group[11]]) as usize * BLOCK
    };
    let root = bytes[table + 128..table + 256].to_vec();
    (2..3500).for_each(|n| bytes[table + n * 128..][..128].copy_from_slice(&root));
    check_hostile(&bytes).unwrap();
}

#[test]
fn extents_that_do_not_hold_make_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["gap", "magic", "depth", "entries", "twice", "nothing", "far", "flags", "length"];
    for name in names.iter().chain(&["whole"]) {
        put(folder.path(), name, &noise(1, 3 * BLOCK));
    }
    let image = image_of(folder.path(), 8 << 10, &[]);
    // The words of i_block: a header of three, and for each extent three.
    let edits = [
        "gap block[3] 1",
        "magic block[0] 0x1F30B",
        "depth block[1] 0x60004",
        "entries block[0] 0x5F30A",
        "nothing block[4] 0",
        "far block[5] 0x7FF",
        "flags flags 0",
        "length size 0x100000000001",
        // A second extent, of the same blocks of the file.
        "twice block[0] 0x2F30A",
        "twice block[7] 3",
        "twice block[8] 100",
    ];
    debugfs(&image, &edits.map(|edit| format!("set_inode_field {edit}\n")).concat());
    let bytes = bytes_of(&image);
    let all = files_with_holes(&bytes, bytes.len() as u64).unwrap();
    let paths = all.iter().map(|file| (file.path.as_slice(), file.has_holes()));
    let expected: BTreeMap<&[u8], bool> = BTreeMap::from([(&b"gap"[..], true), (b"whole", false)]);
    assert_eq!(paths.collect::<BTreeMap<_, _>>(), expected);
}

#[test]
fn names_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    (0..40).for_each(|n| put(folder.path(), &format!("{n:02}"), &noise(n, 100)));
    let image = image_of(folder.path(), 8 << 10, &[]);
    let bytes = bytes_of(&image);
    let within = |names| ext4::files(&bytes, bytes.len() as u64, names).unwrap().len();
    // The folder lost+found comes first.
    assert_eq!((within(0), within(2607), within(2608)), (0, 18, 19));
    // Nor are there paths that no system opens.
    let deep = format!("mkdir {0}\ncd {0}\n", "n".repeat(250)).repeat(17);
    let small = folder.path().join("00");
    debugfs(&image, &format!("{deep}write {} deep\n", small.display()));
    assert_eq!(found(&bytes_of(&image)).len(), 40);
}
