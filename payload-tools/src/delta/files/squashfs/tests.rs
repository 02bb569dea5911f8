mod hostile;

use std::collections::BTreeMap;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::delta::files::layout::{Block, LaidFile, LaidPiece, Lie, Run};
use crate::delta::files::tests::{put, squashfs_of};
use crate::format::delta::codec::Codec;
use crate::testing::noise;

const NAMES_MAX: usize = 64 << 20;
const KIB: usize = 1024;

/// An image with a copy of the folder.
fn image_of(folder: &Path, options: &[&str]) -> Vec<u8> {
    squashfs_of(folder, "zstd", options)
}

fn laid(image: &[u8]) -> Layout {
    layout(&image.to_vec(), image.len() as u64, NAMES_MAX).unwrap()
}

/// Bytes that compress to about a third.
fn words(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, len).into_iter().map(|byte| b'a' + byte % 6).collect()
}

type Files = BTreeMap<String, Vec<u8>>;

/// Files of all kinds, without empty ones, each by its first path.
fn tree() -> (TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = BTreeMap::from([
        ("tiny".to_owned(), b"x".to_vec()),
        ("text".to_owned(), words(1, 100 * KIB)),
        ("deep/text".to_owned(), words(2, 300 * KIB)),
        ("noise".to_owned(), noise(3, 300 * KIB + 5)),
        ("whole".to_owned(), words(4, 256 * KIB)),
        ("again".to_owned(), words(2, 300 * KIB)),
        ("noise again".to_owned(), noise(3, 300 * KIB + 5)),
        (
            "hole".to_owned(),
            [words(5, 128 * KIB), vec![0; 300 * KIB], words(6, 200 * KIB)].concat(),
        ),
        ("hole first".to_owned(), [vec![0; 256 * KIB], words(7, 140 * KIB)].concat()),
        ("hole last".to_owned(), [words(8, 128 * KIB), vec![0; 256 * KIB]].concat()),
        ("zeroes".to_owned(), vec![0; 256 * KIB]),
        (format!("{}file", "folder/".repeat(30)), words(9, 5000)),
    ]);
    for n in 0..900 {
        let path = format!("many/a file with a rather long name {n}");
        files.insert(path, words(n + 10, 1 + n as usize * 3));
    }
    files.iter().for_each(|(path, bytes)| put(folder.path(), path, bytes));
    for n in 0..40 {
        put(folder.path(), &format!("more/{n}/empty"), b"");
    }
    let link = |from: &str, to: &str| {
        fs_err::hard_link(folder.path().join(from), folder.path().join(to)).unwrap();
    };
    link("whole", "many/link");
    link("whole", "z");
    link("text", "a link");
    for (first, path) in [("many/link", "whole"), ("a link", "text")] {
        let bytes = files.remove(path).unwrap();
        files.insert(first.to_owned(), bytes);
    }
    std::os::unix::fs::symlink("/a/long/way", folder.path().join("symlink")).unwrap();
    (folder, files)
}

/// The content of a run.
fn decode(image: &[u8], run: &Run) -> Vec<u8> {
    let Codec::Zstd { content, headed, .. } = run.codec else { panic!("{:?}", run.codec) };
    let (mut at, mut contents) = (run.start as usize, Vec::new());
    assert!(!run.blocks.is_empty());
    for block in &run.blocks {
        let stored = &image[at..at + block.stored as usize];
        let stored = if headed {
            let header = u16::from_le_bytes([stored[0], stored[1]]);
            assert_eq!(header & 0x8000 == 0, block.coded);
            assert_eq!(usize::from(header & 0x7FFF), stored.len() - 2);
            &stored[2..]
        } else {
            stored
        };
        let bytes = if block.coded {
            zstd::bulk::decompress(stored, content as usize).unwrap()
        } else {
            stored.to_vec()
        };
        assert_eq!(bytes.len(), block.content as usize, "{block:?} at {at}");
        contents.extend(bytes);
        at += block.stored as usize;
    }
    contents
}

fn read(file: &LaidFile, contents: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; file.len as usize];
    for LaidPiece { at, lie } in &file.pieces {
        let Lie::Run { index, content } = lie else { panic!("{lie:?}") };
        let content = &contents[*index][content.start as usize..content.end as usize];
        bytes[*at as usize..][..content.len()].copy_from_slice(content);
    }
    bytes
}

/// What lies in no run: the superblock, the options, the lists of blocks of tables, and what is
/// behind the file system.
fn expected_between(image: &[u8]) -> u64 {
    let superblock = Superblock::read(&Source { image: &image.to_vec(), size: image.len() as u64 });
    let superblock = superblock.unwrap();
    let list = |entries: u64, len: u64| (entries * len).div_ceil(8192) * 8;
    let mut between = superblock.data + image.len() as u64 - superblock.bytes_used;
    between += list(superblock.fragments.into(), 16) + list(superblock.ids.into(), 4);
    if superblock.export_table != u64::MAX {
        between += list(superblock.inodes.into(), 8);
    }
    if superblock.xattr_table != u64::MAX {
        between += superblock.bytes_used - superblock.xattr_table;
    }
    between
}

/// All that the image should say: each file once, with its bytes.
#[track_caller]
fn check(image: &[u8], expected: &Files) -> Layout {
    let found = laid(image);
    let mut end = 0;
    let mut between = 0;
    for run in &found.runs {
        assert!(run.start >= end, "{} is before {end}", run.start);
        between += run.start - end;
        end = run.start + run.stored_len();
    }
    between += image.len() as u64 - end;
    assert_eq!(between, expected_between(image));
    let contents: Vec<_> = found.runs.iter().map(|run| decode(image, run)).collect();
    let named = |file: &LaidFile| String::from_utf8(file.path.clone()).unwrap();
    let paths: Vec<_> = found.files.iter().map(named).collect();
    assert_eq!(paths.len(), expected.len());
    for (file, path) in found.files.iter().zip(paths) {
        assert!(read(file, &contents) == expected[&path], "{path}: {:?}", file.pieces);
        let is_sorted = file.pieces.is_sorted_by(|a, b| a.at < b.at);
        assert!(is_sorted, "{path}: {:?}", file.pieces);
    }
    found
}

fn codecs(layout: &Layout) -> Vec<Codec> {
    let mut codecs: Vec<_> = layout.runs.iter().map(|run| run.codec).collect();
    codecs.sort();
    codecs.dedup();
    codecs
}

#[test]
fn every_file_is_found_however_the_image_is_made() {
    let (folder, files) = tree();
    let options: [(&[&str], u8, u32); 9] = [
        (&[], 15, 128),
        (&["-Xcompression-level", "3"], 3, 128),
        (&["-b", "65536"], 15, 64),
        (&["-b", "1M", "-Xcompression-level", "22"], 22, 1024),
        (&["-no-fragments"], 15, 128),
        (&["-always-use-fragments", "-Xcompression-level", "1"], 1, 128),
        (&["-noI", "-noD", "-noF"], 15, 128),
        (&["-no-duplicates", "-no-exports", "-no-xattrs", "-b", "4096"], 15, 4),
        (&["-noF", "-no-sparse", "-no-tailends"], 15, 128),
    ];
    for (options, level, kib) in options {
        let found = check(&image_of(folder.path(), options), &files);
        let headed = [(kib * 1024, false), (8192, true)];
        let mut expected = headed.map(|(content, headed)| Codec::Zstd { level, content, headed });
        expected.sort();
        assert_eq!(codecs(&found), expected, "{options:?}");
    }
}

#[test]
fn blocks_are_where_they_are_known_to_be() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a", &[noise(1, 256 * KIB), vec![0; 128 * KIB], noise(2, 1000)].concat());
    put(folder.path(), "b", &noise(3, 500));
    let found = laid(&image_of(folder.path(), &[]));
    let raw = |len| Block { stored: len, content: len, coded: false };
    let blocks: Vec<_> = found.runs.iter().map(|run| (run.start, run.blocks.clone())).collect();
    // The hole ends a run; the other file is short enough for a fragment.
    let expected =
        [(96, vec![raw(131_072); 2]), (262_240, vec![raw(1000)]), (263_240, vec![raw(500)])];
    assert_eq!(blocks[..3], expected);
    let piece = |at, index, len| LaidPiece { at, lie: Lie::Run { index, content: 0..len } };
    let pieces: Vec<_> = found.files.iter().map(|file| file.pieces.clone()).collect();
    let expected = [vec![piece(0, 0, 262_144), piece(393_216, 1, 1000)], vec![piece(0, 2, 500)]];
    assert_eq!(pieces, expected);
}

#[test]
fn files_with_the_same_content_share_runs() {
    let (folder, files) = tree();
    let found = check(&image_of(folder.path(), &["-no-fragments"]), &files);
    let pieces = |path: &str| {
        let is_it = |file: &&LaidFile| file.path == path.as_bytes();
        found.files.iter().find(is_it).unwrap().pieces.clone()
    };
    assert_eq!(pieces("again"), pieces("deep/text"));
    assert_ne!(pieces("again"), pieces("noise"));
    // The hole ends a run.
    assert_eq!(pieces("hole").len(), 2);
    assert_eq!(pieces("zeroes"), []);
}

#[test]
fn fragments_that_are_neighbours_are_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let files: Files = (0..400).map(|n| (format!("{n}"), words(n, 700))).collect();
    files.iter().for_each(|(path, bytes)| put(folder.path(), path, bytes));
    let found = check(&image_of(folder.path(), &["-b", "4096"]), &files);
    let files =
        found.runs.iter().filter(|run| matches!(run.codec, Codec::Zstd { headed: false, .. }));
    let blocks: Vec<_> = files.map(|run| run.blocks.len()).collect();
    assert_eq!(blocks, [80]);
}

#[test]
fn extended_attributes_are_in_runs() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "file", &words(1, 5000));
    let file = folder.path().join("file");
    let flags = rustix::fs::XattrFlags::empty();
    // Not every file system takes them.
    let is_set = rustix::fs::setxattr(&file, "user.long", &noise(1, 1000), flags).is_ok();
    let made = image_of(folder.path(), &["-xattrs"]);
    check(&made, &BTreeMap::from([("file".to_owned(), words(1, 5000))]));
    let source = Source { image: &made, size: made.len() as u64 };
    assert_eq!(Superblock::read(&source).unwrap().xattr_table != u64::MAX, is_set);
}

#[test]
fn other_compressors_are_not_understood() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "file", &words(1, 5000));
    let image = squashfs_of(folder.path(), "gzip", &[]);
    let found = layout(&image, image.len() as u64, NAMES_MAX);
    assert!(matches!(found, Err(Flaw::Damaged)));
}

#[test]
fn an_empty_image_has_only_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let found = check(&image_of(folder.path(), &[]), &Files::new());
    assert_eq!(codecs(&found).len(), 1);
}
