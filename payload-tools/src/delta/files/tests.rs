mod hostile;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;
use crate::format::BLOCK;
use crate::testing::noise;

pub(in crate::delta::files) fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// An image of so many KiB with a copy of the folder.
pub(in crate::delta) fn image_of(folder: &Path, kib: u64, options: &[&str]) -> TempDir {
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

/// A SquashFS image with a copy of the folder.
pub(in crate::delta) fn squashfs_of(folder: &Path, compressor: &str, options: &[&str]) -> Vec<u8> {
    let made = tempfile::tempdir().unwrap();
    let image = made.path().join("image");
    let mut command = tool("mksquashfs");
    command.arg(folder).arg(&image).args(["-comp", compressor, "-noappend", "-no-progress"]);
    command.args(["-processors", "1"]).args(options);
    let status = command.status().expect("this test needs mksquashfs (package squashfs-tools)");
    assert!(status.success(), "{command:?}");
    fs_err::read(&image).unwrap()
}

/// An EROFS image with a copy of the folder.
pub(in crate::delta) fn erofs_of(folder: &Path, options: &[&str]) -> Vec<u8> {
    let made = tempfile::tempdir().unwrap();
    let mut command = tool("mkfs.erofs");
    command.args(["-T0", "-U00000000-0000-0000-0000-000000000000"]).args(options);
    let status = command.arg(made.path().join("image")).arg(folder).status();
    let status = status.expect("this test needs mkfs.erofs (package erofs-utils)");
    assert!(status.success(), "{command:?}");
    fs_err::read(made.path().join("image")).unwrap()
}

/// Lines of few words, which compress.
pub(in crate::delta) fn text(seed: u64, len: usize) -> Vec<u8> {
    let words = ["folder", "of", "the", "package", "is", "updated", "when", "file", "\n", "=0x"];
    let mut text = Vec::with_capacity(len + 16);
    for (number, byte) in noise(seed, len).into_iter().enumerate() {
        if text.len() >= len {
            break;
        }
        text.extend_from_slice(words[usize::from(byte) % words.len()].as_bytes());
        if byte > 200 {
            text.extend_from_slice(number.to_string().as_bytes());
        }
    }
    text.truncate(len);
    text
}

fn debugfs(image: &TempDir, requests: &str) {
    let mut command = tool("debugfs");
    command.args(["-w", "-f", "-"]).arg(image.path().join("image")).stdin(Stdio::piped());
    let mut child = command.spawn().expect("this test needs debugfs (package e2fsprogs)");
    child.stdin.take().unwrap().write_all(requests.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

pub(in crate::delta) fn bytes_of(image: &TempDir) -> Vec<u8> {
    fs_err::read(image.path().join("image")).unwrap()
}

fn found(image: &[u8]) -> BTreeMap<String, ImageFile> {
    let found = files(&image.to_vec(), image.len() as u64).unwrap();
    let starts: Vec<u64> =
        found.iter().map(|file| file.pieces.first().map_or(0, |piece| piece.image.start)).collect();
    assert!(starts.is_sorted(), "in the order in which they lie there");
    let named = |file: ImageFile| (String::from_utf8(file.path.clone()).unwrap(), file);
    found.into_iter().map(named).collect()
}

fn content(image: &[u8], file: &ImageFile) -> Vec<u8> {
    let mut bytes = vec![0; (file.len as usize).next_multiple_of(BLOCK)];
    for piece in &file.pieces {
        let lying = &image[piece.image.start as usize..piece.image.end as usize];
        bytes[piece.at as usize..piece.end() as usize].copy_from_slice(lying);
    }
    bytes.truncate(file.len as usize);
    bytes
}

pub(in crate::delta) fn put(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, bytes).unwrap();
}

/// All that the image should say: each file once, with its bytes.
fn check(image: &[u8], expected: &BTreeMap<String, Vec<u8>>) {
    check_files(image, &found(image), expected);
}

fn check_files(
    image: &[u8],
    found: &BTreeMap<String, ImageFile>,
    expected: &BTreeMap<String, Vec<u8>>,
) {
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(found.keys().collect()), names(expected.keys().collect()));
    for (path, bytes) in expected {
        let file = &found[path];
        assert!(content(image, file) == *bytes, "{path}: {:?}", file.pieces);
        let is_apart =
            |pair: &[Piece]| pair[0].image.end != pair[1].image.start || pair[0].end() < pair[1].at;
        assert!(file.pieces.windows(2).all(is_apart), "{path}: {:?}", file.pieces);
        let is_whole = |piece: &Piece| piece.image.start.is_multiple_of(BLOCK as u64);
        assert!(file.pieces.iter().all(is_whole), "{path}: {:?}", file.pieces);
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
    // The root is read before the folder with the first path.
    put(folder.path(), "z", &noise(7, 9000));
    fs_err::hard_link(folder.path().join("z"), folder.path().join("folder/a")).unwrap();
    files.insert("folder/a".to_owned(), noise(7, 9000));
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
    // A folder too large for its inode.
    (0..60).for_each(|n| put(folder.path(), &format!("secrets/{n}"), &noise(n, 1000)));
    let image = image_of(folder.path(), 8 << 10, &["-O", "inline_data,encrypt"]);
    // Encrypted, with extents.
    let flags = ["secret", "secrets"].map(|path| format!("set_inode_field {path} flags 0x80800\n"));
    debugfs(&image, &flags.concat());
    let found = found(&bytes_of(&image));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["whole"]);
}

#[test]
fn files_with_holes_have_zeroes_there() {
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
    let mut all = found(&bytes);
    let far = all.remove("hole").unwrap();
    assert_eq!((far.len, far.pieces.len(), far.pieces[0].at), ((5 << 30) + 100, 1, 5 << 30));
    let start = far.pieces[0].image.start as usize;
    assert_eq!(bytes[start..][..100], noise(4, 100));
    let reserved = [noise(5, BLOCK), vec![0; 3 * BLOCK]].concat();
    let expected = [
        ("zeroes", zeroes),
        ("whole", noise(3, 3 * BLOCK)),
        ("reserved", reserved),
        ("ahead", noise(6, BLOCK)),
        ("shorter", noise(7, 5000)),
    ];
    check_files(&bytes, &all, &expected.map(|(path, bytes)| (path.to_owned(), bytes)).into());
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
    assert!(pieces.pieces.len() > 1400, "{}", pieces.pieces.len());
}
