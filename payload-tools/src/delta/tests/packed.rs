//! Deltas of file systems that compress blocks.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::delta::files::tests::{bytes_of, erofs_of, image_of, put, squashfs_of, text};

type Files = BTreeMap<String, Vec<u8>>;

fn elf(seed: u64, len: usize) -> Vec<u8> {
    [&b"\x7FELF"[..], &noise(seed, len)].concat()
}

/// The files of a system, and of the one after it: a program changed here and there, a document that
/// grew in its middle, one with another name, a new one; most are as they were.
fn systems() -> [Files; 2] {
    let mut old = Files::new();
    for n in 0..8 {
        old.insert(format!("usr/lib/{n}.so"), elf(n + 1, 500_000));
        old.insert(format!("usr/share/doc/{n}"), text(n + 20, 400_000));
    }
    for n in 0..150 {
        old.insert(format!("etc/{n}"), text(n + 50, 100 + n as usize * 30));
    }
    let (program, long) = (elf(201, 1_000_000), text(202, 2_500_000));
    old.insert("usr/bin/program".to_owned(), program.clone());
    old.insert("usr/share/long".to_owned(), long.clone());
    let moved = text(203, 600_000);
    let mut new = old.clone();
    old.insert("usr/share/name".to_owned(), moved.clone());
    new.insert("usr/share/other name".to_owned(), moved);
    new.insert("usr/share/new".to_owned(), text(204, 150_000));
    let mut changed = program;
    changed.iter_mut().skip(500).step_by(5000).for_each(|byte| *byte ^= 0x55);
    new.insert("usr/bin/program".to_owned(), changed);
    let grown = [&long[..1_200_000], &text(205, 40_000), &long[1_200_000..]].concat();
    new.insert("usr/share/long".to_owned(), grown);
    for n in (0..150).step_by(15) {
        new.insert(format!("etc/{n}"), text(n + 300, 100 + n as usize * 30));
    }
    [old, new]
}

fn folder_of(files: &Files) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(path, bytes)| put(folder.path(), path, bytes));
    folder
}

fn squashfs(options: &'static [&'static str]) -> impl Fn(&Path) -> Vec<u8> {
    move |folder| {
        let always = ["-all-time", "0", "-mkfs-time", "0", "-all-root"];
        squashfs_of(folder, "zstd", &[&always[..], options].concat())
    }
}

fn erofs(options: &'static [&'static str]) -> impl Fn(&Path) -> Vec<u8> {
    move |folder| erofs_of(folder, options)
}

fn ext4(folder: &Path) -> Vec<u8> {
    bytes_of(&image_of(folder, 24 << 10, &["-O", "^has_journal"]))
}

/// What the files that are others or new take, compressed.
fn changed_len(old: &Files, new: &Files) -> u64 {
    let is_new = |(path, bytes): &(&String, &Vec<u8>)| old.get(*path) != Some(*bytes);
    let changed = new.iter().filter(is_new);
    changed.map(|(_, bytes)| zstd::bulk::compress(bytes, 15).unwrap().len() as u64).sum()
}

/// Makes the delta between both systems in such images, and follows it. Says what the delta takes.
#[track_caller]
fn check(make_old: impl Fn(&Path) -> Vec<u8>, make_new: impl Fn(&Path) -> Vec<u8>) -> (Pair, u64) {
    let [old, new] = systems();
    let [was, is] = [folder_of(&old), folder_of(&new)];
    let (pair, tally) = Pair::new(make_old(was.path()), make_new(is.path()), 3);
    let outcome = pair.outcome(&pair.delta, &pair.old);
    let good = segment_count(pair.new.len() as u64);
    assert_eq!(outcome, Outcome { head: true, good, refused: 0, wrong: 0 });
    let of_kinds: u64 = [Kind::Repack, Kind::Copy, Kind::Zero]
        .iter()
        .filter_map(|kind| Some(tally.kinds.get(kind)?.image_bytes))
        .sum();
    assert!(of_kinds * 10 > pair.new.len() as u64 * 9, "{tally:?}");
    assert!(tally.kinds.contains_key(&Kind::Repack), "{tally:?}");
    (pair, tally.size)
}

/// The delta is no longer than so many percent of what changed, well compressed.
#[track_caller]
fn check_small(percent: u64, make: impl Fn(&Path) -> Vec<u8>) -> Pair {
    let (pair, size) = check(&make, &make);
    let [old, new] = systems();
    let changed = changed_len(&old, &new);
    assert!(size < changed * percent / 100, "{size} of {changed}");
    pair
}

#[test]
fn a_squashfs_is_made_of_what_its_blocks_hold() {
    let pair = check_small(25, squashfs(&[]));
    a_changed_old_image_is_seen(&pair);
}

#[test]
fn a_squashfs_with_small_blocks_is_made_of_what_they_hold() {
    check_small(25, squashfs(&["-b", "65536"]));
}

#[test]
fn a_squashfs_of_a_low_level_is_made_of_what_its_blocks_hold() {
    // Its encoder is of another version than ours.
    check_small(50, squashfs(&["-Xcompression-level", "3"]));
}

#[test]
fn a_squashfs_whose_metadata_is_not_compressed_is_made_of_what_its_blocks_hold() {
    check_small(25, squashfs(&["-noI"]));
}

#[test]
fn an_erofs_is_made_of_what_its_blocks_hold() {
    let pair = check_small(25, erofs(&["-zlz4hc"]));
    a_changed_old_image_is_seen(&pair);
}

#[test]
fn an_erofs_of_the_fast_compressor_is_made_of_what_its_blocks_hold() {
    // An image does not say which compressor it is of.
    check_small(50, erofs(&["-zlz4"]));
}

#[test]
fn an_erofs_with_large_blocks_is_made_of_what_they_hold() {
    check_small(25, erofs(&["-zlz4hc", "-C65536"]));
}

#[test]
fn a_squashfs_is_made_of_an_ext4_and_an_erofs_of_a_squashfs() {
    for (pair, size) in [check(ext4, squashfs(&[])), check(squashfs(&[]), erofs(&["-zlz4hc"]))] {
        let full = zstd::bulk::compress(&pair.new, 3).unwrap().len() as u64;
        assert!(size < full / 2, "{size} of {full}");
    }
}

/// Another byte here and there, as if blocks were written since: what is made of them is refused before
/// it is anything else.
fn a_changed_old_image_is_seen(pair: &Pair) {
    let mut changed = pair.old.clone();
    changed.iter_mut().skip(5000).step_by(30_000).for_each(|byte| *byte ^= 1);
    let outcome = pair.outcome(&pair.delta, &changed);
    assert!(outcome.refused > 0 && outcome.wrong == 0, "{outcome:?}");
    let head = pair.head();
    let part = (0..head.segments()).filter_map(|index| head.part(index));
    let part = part.filter(|part| part.kind == Kind::Repack).max_by_key(|part| part.body.end);
    let part = part.unwrap();
    let bytes = &pair.delta[part.body.start as usize..part.body.end as usize];
    let len = (part.segment.end - part.segment.start) as usize;
    let body = Body::parse(part.kind, bytes, len, head.from_size).unwrap();
    let mut source = Vec::new();
    for range in &body.sources {
        source.extend(&changed[range.start as usize..range.end as usize]);
    }
    assert!(body.sum != Some(SourceSum::of(&source)));
    // Who makes it nevertheless gets an error or bytes that the tree does not have.
    let mut made = vec![0; len];
    let decoded = DeltaDecoder::new().unwrap().decode(&body, bytes, &mut source, &mut made);
    let is = &pair.new[part.segment.start as usize..part.segment.end as usize];
    assert!(decoded.is_err() || made != is);
}

/// What a segment holds does not fit a device, or memory: it is made in another way.
#[test]
fn blocks_that_hold_too_much_are_made_otherwise() {
    let mut files = Files::from([("b".to_owned(), elf(1, 300_000))]);
    let [was, is] = [false, true].map(|is_new| {
        if is_new {
            // More than a segment's content may be, in some KiB.
            files.insert("a".to_owned(), b"ab".repeat(150 << 20));
            files.insert("b".to_owned(), elf(2, 300_000));
        }
        folder_of(&files)
    });
    let made = squashfs(&["-Xcompression-level", "1"]);
    let (pair, tally) = Pair::new(made(was.path()), made(is.path()), 3);
    let outcome = pair.outcome(&pair.delta, &pair.old);
    assert_eq!(outcome, Outcome { head: true, good: 1, refused: 0, wrong: 0 });
    assert!(tally.kinds.contains_key(&Kind::Zstd), "{tally:?}");
}

/// A block of LZ4 that holds more than a device has room for costs its file, not its segment.
#[test]
fn a_block_that_holds_more_than_a_device_unpacks_stays_packed() {
    let [mut old, mut new] = [Files::new(), Files::new()];
    for files in [&mut old, &mut new] {
        files.insert("dense".to_owned(), b"ab".repeat(4 << 20));
        files.insert("program".to_owned(), elf(1, 2_000_000));
    }
    new.get_mut("program").unwrap()[1_000_000] ^= 1;
    let [was, is] = [folder_of(&old), folder_of(&new)];
    let make = erofs(&["-zlz4hc", "-C65536"]);
    let (pair, tally) = Pair::new(make(was.path()), make(is.path()), 3);
    let outcome = pair.outcome(&pair.delta, &pair.old);
    assert_eq!((outcome.refused, outcome.wrong), (0, 0));
    assert!(tally.size < 10_000, "{tally:?}");
}
