use std::collections::BTreeMap;

use super::*;
use crate::delta::files::tests::{bytes_of, erofs_of, image_of, put, squashfs_of, text};
use crate::testing::noise;

const THREADS: NonZero<usize> = NonZero::new(2).unwrap();
const BLOCK: u64 = super::BLOCK as u64;

type Files = BTreeMap<String, Vec<u8>>;

/// Files of all kinds, without empty ones.
fn files() -> Files {
    let mut mixed = Vec::new();
    for n in 0..9 {
        mixed.extend(text(n, 21_000 + n as usize * 777));
        mixed.extend(noise(n, 13_000 + n as usize * 555));
    }
    let mut zeroes = vec![0; 1 << 20];
    zeroes[345_678..400_000].copy_from_slice(&noise(4, 54_322));
    let mut files = Files::from([
        ("tiny".to_owned(), b"tiny".to_vec()),
        ("large".to_owned(), text(2, 2 << 20)),
        ("noise".to_owned(), noise(3, 150_001)),
        ("mixed".to_owned(), mixed),
        ("zeroes".to_owned(), zeroes),
        ("folder/block".to_owned(), noise(5, 4096)),
        ("folder/text".to_owned(), text(6, 128 << 10)),
    ]);
    for n in 0..200 {
        files.insert(format!("many/file {n}"), text(n + 9, 1 + n as usize * 50));
    }
    files
}

/// Images of both packed file systems with these files, made in all the ways that differ for a view.
fn images(files: &Files) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(path, bytes)| put(folder.path(), path, bytes));
    let squashfs: [&[&str]; 5] = [
        &[],
        &["-b", "65536", "-Xcompression-level", "3"],
        &["-noI"],
        &["-noD", "-noF"],
        &["-no-fragments", "-noId"],
    ];
    let erofs: [&[&str]; 5] = [
        &["-zlz4hc"],
        &["-zlz4"],
        &["-zlz4hc", "-C65536"],
        &["-zlz4hc", "-Elegacy-compress"],
        &["-zlz4hc", "-Eztailpacking"],
    ];
    let made = |options: &&[&str]| {
        let image = squashfs_of(folder.path(), "zstd", options);
        (format!("squashfs {options:?}"), image)
    };
    let mut images: Vec<_> = squashfs.iter().map(made).collect();
    images.extend(
        erofs
            .iter()
            .map(|options| (format!("erofs {options:?}"), erofs_of(folder.path(), options))),
    );
    images
}

#[expect(clippy::ptr_arg, reason = "an image is read from a vector")]
fn open(image: &Vec<u8>) -> (View<'_>, Vec<ImageFile>) {
    View::open(image, image.len() as u64, THREADS).unwrap()
}

fn read(view: &View<'_>, range: &Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0xAA; (range.end - range.start) as usize];
    view.fill_at(&mut bytes, range.start).unwrap();
    bytes
}

/// Ranges up to `end`, many of them short, each from and to a multiple of `unit`.
fn ranges(seed: u64, end: u64, unit: u64) -> Vec<Range<u64>> {
    let number = |bytes: &[u8]| u64::from_le_bytes(*bytes.first_chunk().unwrap());
    let range = |chance: &[u8]| {
        let start = number(chance) % (end / unit);
        let len = (number(&chance[8..]) >> (chance[16] % 64)) % (end / unit - start) + 1;
        start * unit..(start + len) * unit
    };
    let whole = (0..end / unit * unit).start..end / unit * unit;
    noise(seed, 17 * 60).chunks_exact(17).map(range).chain([whole]).collect()
}

/// Makes what items say, as a device does.
fn follow(image: &[u8], items: &[Item], codecs: &[Codec]) -> Vec<u8> {
    let mut coder = Coder::new().unwrap();
    let mut made = Vec::new();
    for item in items {
        let stored = item.stored();
        let mut stored = &image[stored.start as usize..stored.end as usize];
        let Item::Packed { codec, groups, content, .. } = item else {
            made.extend(stored);
            continue;
        };
        let mut all = Vec::new();
        for group in groups {
            for _ in 0..group.blocks {
                let (block, rest) = stored.split_at(group.stored as usize);
                stored = rest;
                if group.is_packed {
                    let mut out = vec![0; 1 << 20];
                    let codec = codecs[*codec as usize - 1];
                    let len = coder.decode(codec, block, &mut out).unwrap();
                    all.extend(&out[..len]);
                } else {
                    all.extend(block);
                }
            }
        }
        // Zeroes are behind it, and nothing is taken that is not wanted.
        let behind = all.get(content.start as usize..).expect("a block too many");
        let len = (content.end - content.start) as usize;
        made.extend(&behind[..len.min(behind.len())]);
        made.resize(made.len() + len.saturating_sub(behind.len()), 0);
    }
    made
}

#[test]
fn every_file_is_read_through_the_view() {
    let expected = files();
    for (name, image) in images(&expected) {
        let (view, found) = open(&image);
        assert!(view.is_packed() && view.size() % BLOCK == 0, "{name}");
        let (mut seen, mut records) = (0, 0);
        for file in &found {
            if file.path.ends_with(&[0]) {
                records += 1;
                continue;
            }
            let path = String::from_utf8(file.path.clone()).unwrap();
            assert!(file.read(&view).unwrap() == expected[&path], "{name}: {path}");
            let start = file.read_start(&view).unwrap();
            let len = start.len().min(expected[&path].len());
            assert!(start[..len] == expected[&path][..len], "{name}: the start of {path}");
            seen += 1;
        }
        // Ends of files are left out where they lie elsewhere.
        let is_whole = seen == expected.len() || name.contains("ztail") && seen > 5;
        assert!(is_whole, "{name}: {seen} files");
        assert_eq!(records > 0, name.starts_with("erofs"), "{name}: {records} records");
        let starts = found.iter().filter_map(|file| Some(file.pieces.first()?.image.start));
        assert!(starts.is_sorted(), "{name}");
    }
}

#[test]
fn units_cover_a_range_of_the_image() {
    for (name, image) in images(&files()) {
        let (view, _) = open(&image);
        let size = image.len() as u64;
        let (plain, packed) = (ranges(1, size, 1), ranges(2, size, BLOCK));
        for range in plain.into_iter().chain(packed) {
            let units = view.units(&range);
            let mut end = None;
            for (index, unit) in units.iter().enumerate() {
                let (stored, content) = match unit {
                    Unit::Plain { stored, content } => {
                        assert!(range.start <= stored.start && stored.end <= range.end);
                        let bytes = &image[stored.start as usize..stored.end as usize];
                        assert!(read(&view, content) == bytes, "{name}: {unit:?}");
                        (stored, content)
                    }
                    Unit::Packed { stored, content, .. } => {
                        let sticks_out = stored.start < range.start && index > 0
                            || stored.end > range.end && index + 1 < units.len();
                        assert!(!sticks_out, "{name}: {range:?}: {unit:?}");
                        (stored, content)
                    }
                };
                assert!(stored.start < stored.end && content.start < content.end);
                assert!(content.end <= view.size());
                assert!(end.is_none_or(|end| end == stored.start), "{name}: {range:?}: {units:?}");
                end = Some(stored.end);
            }
            let first = match &units[0] {
                Unit::Plain { stored, .. } | Unit::Packed { stored, .. } => stored,
            };
            assert!(first.start <= range.start && range.start < first.end, "{name}: {range:?}");
            assert!(end.is_some_and(|end| end >= range.end), "{name}: {range:?}: {units:?}");
        }
    }
}

#[test]
fn items_make_what_the_view_has() {
    for (seed, (name, image)) in (1..).zip(images(&files())) {
        let (view, _) = open(&image);
        let codecs = view.codecs();
        let number = |codec| codecs.iter().position(|known| *known == codec).unwrap() as u64 + 1;
        for range in ranges(seed, view.size(), BLOCK) {
            let items = view.items(&range, &number);
            let made = follow(&image, &items, &codecs);
            assert!(made == read(&view, &range), "{name}: {range:?}: {items:?}");
        }
    }
}

/// Where the image has what a file consists of: whole blocks of a run, and no more of them.
#[test]
fn what_a_file_takes_is_where_its_blocks_lie() {
    for (name, image) in images(&files()) {
        let (view, found) = open(&image);
        for piece in found.iter().flat_map(|file| &file.pieces) {
            let stored = view.stored(&piece.image);
            let units: Vec<Unit> = stored.iter().flat_map(|range| view.units(range)).collect();
            let both = |unit: &Unit| match unit {
                Unit::Plain { stored, content } => (stored.clone(), content.clone()),
                Unit::Packed { stored, content, .. } => (stored.clone(), content.clone()),
            };
            let len = |ranges: &[Range<u64>]| -> u64 {
                ranges.iter().map(|range| range.end - range.start).sum()
            };
            let (blocks, contents): (Vec<_>, Vec<_>) = units.iter().map(both).unzip();
            assert_eq!(len(&blocks), len(&stored), "{name}: {piece:?}");
            let (first, last) = (contents.first().unwrap(), contents.last().unwrap());
            assert!(first.contains(&piece.image.start), "{name}: {piece:?}");
            let is_end = last.start < piece.image.end && piece.image.end <= last.end;
            assert!(is_end, "{name}: {piece:?}: {last:?}");
        }
    }
}

/// What lies behind a run and what it holds: each begins with a block of the view.
#[test]
fn a_run_is_followed_by_zeroes_to_the_end_of_a_block() {
    for (name, image) in images(&files()) {
        let (view, _) = open(&image);
        let mut end = 0;
        for stretch in &view.stretches {
            assert_eq!(stretch.content.start, end, "{name}: {stretch:?}");
            end = stretch.content.end.next_multiple_of(BLOCK);
            if stretch.run.is_some() {
                let behind = read(&view, &(stretch.content.end..end));
                assert!(behind.iter().all(|byte| *byte == 0), "{name}: {stretch:?}");
            }
        }
        assert_eq!(end, view.size(), "{name}");
        let beyond = view.fill_at(&mut [0; 2], view.size() - 1);
        assert_eq!(beyond.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

/// A run with a damaged block is bytes like others, and files in it are none.
#[test]
fn a_damaged_block_keeps_its_run_out() {
    let expected = files();
    for (name, image) in images(&expected) {
        let (whole, all) = open(&image);
        let Some(file) = all.iter().find(|file| file.path == b"large") else { continue };
        let at = file.pieces[0].image.start;
        let stretch = whole.stretches.iter().find(|stretch| stretch.content.contains(&at)).unwrap();
        let Some(run) = stretch.run.map(|run| &whole.runs[run]) else { panic!("{name}") };
        if !run.run.blocks[0].coded {
            continue;
        }
        let block = run.stored_at(0);
        let mut damaged = image.clone();
        // No magic number of zstd; for LZ4 a length that does not end.
        damaged[block.start as usize..block.end as usize].fill(0xFF);
        let (view, found) = open(&damaged);
        assert_eq!(view.runs.len(), whole.runs.len() - 1, "{name}");
        assert!(!found.iter().any(|file| file.path == b"large"), "{name}");
        let others = found.iter().filter(|file| !file.path.ends_with(&[0])).count();
        assert!(others > 0, "{name}");
        let [Unit::Plain { stored, content }] = &view.units(&block)[..] else {
            panic!("{name}: {:?}", view.units(&block));
        };
        assert_eq!(stored, &block, "{name}");
        assert!(read(&view, content).iter().all(|byte| *byte == 0xFF), "{name}");
        for file in found.iter().filter(|file| !file.path.ends_with(&[0])) {
            let path = String::from_utf8(file.path.clone()).unwrap();
            assert!(file.read(&view).unwrap() == expected[&path], "{name}: {path}");
        }
    }
}

#[test]
fn an_image_without_packed_blocks_is_its_own_view() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "file", &noise(1, 300_000));
    let ext4 = bytes_of(&image_of(folder.path(), 4 << 10, &[]));
    for (image, files) in [(ext4, 1), (noise(2, 300 << 10), 0), (Vec::new(), 0)] {
        let (view, found) = open(&image);
        let size = image.len() as u64;
        assert_eq!((view.is_packed(), view.size(), found.len()), (false, size, files));
        assert_eq!((view.codecs(), view.is_packed()), (Vec::new(), false));
        assert!(read(&view, &(0..size)) == image);
        if size > 0 {
            let range = 3 * BLOCK..9 * BLOCK;
            let unit = Unit::Plain { stored: range.clone(), content: range.clone() };
            assert_eq!(view.units(&range), [unit]);
            assert_eq!(view.items(&range, &|_| panic!()), [Item::Stored(range)]);
        }
        for file in found {
            assert!(file.read(&view).unwrap() == noise(1, 300_000));
        }
    }
}

/// A block that was unpacked when the view was made, and is another when it is read.
#[test]
fn an_image_that_changes_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "text", &text(1, 100_000));
    let image = squashfs_of(folder.path(), "zstd", &[]);
    struct Changing(Vec<u8>, std::sync::atomic::AtomicBool);
    impl ReadAt for Changing {
        fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.0.fill_at(buf, offset)?;
            if self.1.load(Ordering::Relaxed) {
                buf.fill(0xFF);
            }
            Ok(())
        }
    }
    let len = image.len() as u64;
    let changing = Changing(image, false.into());
    let (view, found) = View::open(&changing, len, THREADS).unwrap();
    assert!(found[0].read(&view).unwrap() == text(1, 100_000));
    let (view, found) = View::open(&changing, len, THREADS).unwrap();
    changing.1.store(true, Ordering::Relaxed);
    assert!(found[0].read(&view).is_err());
}

#[test]
fn the_level_of_lz4_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "text", &text(1, 300_000));
    for (option, level) in [("-zlz4", 0), ("-zlz4hc", 9), ("-zlz4hc,3", 3)] {
        let image = erofs_of(folder.path(), &[option]);
        let (mut view, _) = open(&image);
        view.settle().unwrap();
        assert_eq!(view.codecs(), [Codec::Lz4 { level, stored: 4096 }], "{option}");
    }
}
