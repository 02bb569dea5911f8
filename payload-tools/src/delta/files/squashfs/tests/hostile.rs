//! Images that do not hold.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Reads an image, and counts the bytes.
struct Counted<'a>(&'a [u8], AtomicU64);

impl ReadAt for Counted<'_> {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.0.fill_at(buf, offset)
    }
}

/// What must hold of any image; the number of files.
fn check_hostile(image: &[u8]) -> usize {
    let counted = Counted(image, AtomicU64::new(0));
    let size = image.len() as u64;
    let found = match layout(&counted, size, NAMES_MAX) {
        Ok(found) => found,
        Err(Flaw::Damaged) => Layout::default(),
        Err(Flaw::Io(error)) => panic!("{error}"),
    };
    let mut end = 96;
    for run in &found.runs {
        assert!(run.start >= end && !run.blocks.is_empty());
        assert!(run.blocks.iter().all(|block| block.stored > 0 && block.content > 0));
        end = run.start + run.stored_len();
    }
    assert!(end <= size.max(96));
    for file in &found.files {
        let mut at = 0;
        for LaidPiece { at: start, lie } in &file.pieces {
            let Lie::Run { index, content } = lie else { panic!("{lie:?}") };
            assert!(*start >= at && content.start < content.end);
            assert!(content.end <= found.runs[*index].content_len());
            at = start + (content.end - content.start);
        }
        assert!(at <= file.len);
    }
    // No byte twice, but for the start of fragments.
    let read = counted.1.load(Ordering::Relaxed);
    assert!(read <= size * 2 + 200, "{read} of {size}");
    found.files.len()
}

/// A small image with some of everything.
fn small() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..60 {
        put(folder.path(), &format!("{}/{n}", n % 7), &words(n, 300 + n as usize * 200));
    }
    put(folder.path(), "hole", &[words(1, 4096), vec![0; 9000], words(2, 9000)].concat());
    // Not compressed, so that what is damaged decodes.
    image_of(folder.path(), &["-noI", "-b", "4096", "-Xcompression-level", "3"])
}

/// Where the metadata begins.
fn metadata(image: &[u8]) -> usize {
    u64_at(image, 64) as usize
}

fn u64_at(image: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*image[at..].first_chunk().unwrap())
}

#[test]
fn a_damaged_image_makes_fewer_files_and_ends() {
    let image = small();
    let (whole, start) = (check_hostile(&image), metadata(&image));
    assert_eq!(whole, 61);
    let mut damages = noise(1, 5 * 4 * 2000).into_iter();
    let mut next = || damages.next().unwrap_or_default();
    let mut fewer = 0;
    for round in 0..2000 {
        let mut damaged = image.clone();
        for _ in 0..=round % 4 {
            let at = usize::from(u16::from_le_bytes([next(), next()]));
            // Half of them in the superblock.
            let at = if next() < 128 { at % 96 } else { start + at % (image.len() - start) };
            damaged[at] = next();
        }
        fewer += usize::from(check_hostile(&damaged) < whole);
    }
    assert!(fewer > 500, "{fewer}");
}

#[test]
fn an_image_that_is_cut_off_is_none() {
    let image = small();
    let used = u64_at(&image, 40) as usize;
    for len in (0..200).chain((200..used).step_by(97)) {
        assert_eq!(check_hostile(&image[..len]), 0);
        // It says that this is all.
        let mut cut = image[..len].to_vec();
        if len >= 96 {
            cut[40..48].copy_from_slice(&(len as u64).to_le_bytes());
            check_hostile(&cut);
        }
    }
    assert_eq!(check_hostile(&image[..used]), 61);
}

#[test]
fn an_image_that_cannot_be_read_is_an_error() {
    let image = small();
    let size = image.len() as u64;
    for len in [10, metadata(&image), metadata(&image) + 100] {
        let found = layout(&image[..len].to_vec(), size, NAMES_MAX);
        assert!(matches!(found, Err(Flaw::Io(_))), "{len}");
    }
}

#[test]
fn a_superblock_that_does_not_hold_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "file", &words(1, 5000));
    let image = image_of(folder.path(), &["-Xcompression-level", "3"]);
    // Offsets, and what is written there.
    let edits: [(usize, &[u8]); 9] = [
        (0, b"h"),
        (12, &[1]),
        (20, &[4]),
        (22, &[11]),
        (28, &[3]),
        (30, &[1]),
        (40, &[0; 8]),
        (96, &[8]),
        (98, &[23]),
    ];
    for (at, edit) in edits {
        let mut bytes = image.clone();
        bytes[at..][..edit.len()].copy_from_slice(edit);
        // The first byte of the magic is that already.
        bytes[0] ^= u8::from(at == 0);
        let found = layout(&bytes, bytes.len() as u64, NAMES_MAX);
        assert!(matches!(found, Err(Flaw::Damaged)), "{at}");
    }
}

#[test]
fn names_and_blocks_are_bounded() {
    let image = small();
    let within = |max| layout(&image, image.len() as u64, max).unwrap().files.len();
    assert_eq!((within(0), within(NAMES_MAX)), (0, 61));
    let some = within(10_000);
    assert!((1..60).contains(&some), "{some}");
    assert!(within(14_000) > some);
}

/// An image of tables only, not compressed.
fn made(inodes: &[u8], directories: &[u8], root: u64) -> Vec<u8> {
    let table = |bytes: &[u8]| {
        let block = |block: &[u8]| [&(block.len() as u16 | 0x8000).to_le_bytes(), block].concat();
        bytes.chunks(8192).map(block).collect::<Vec<_>>().concat()
    };
    let (inodes, directories) = (table(inodes), table(directories));
    let mut bytes = b"hsqs".to_vec();
    bytes.resize(96, 0);
    let mut put = |at: usize, value: &[u8]| bytes[at..][..value.len()].copy_from_slice(value);
    put(12, &4096_u32.to_le_bytes());
    put(20, &[6, 0, 12]);
    put(28, &[4]);
    put(32, &root.to_le_bytes());
    let places = [96, 96 + inodes.len() as u64];
    let end = places[1] + directories.len() as u64;
    put(40, &end.to_le_bytes());
    (48..96).step_by(8).for_each(|at| put(at, &u64::MAX.to_le_bytes()));
    put(64, &places[0].to_le_bytes());
    put(72, &places[1].to_le_bytes());
    [bytes, inodes, directories].concat()
}

/// A directory's inode, with so many bytes of names from the start of the table on.
fn directory(len: usize) -> Vec<u8> {
    let mut inode = vec![0; 32];
    inode[0] = 1;
    inode[24..26].copy_from_slice(&(len as u16 + 3).to_le_bytes());
    inode
}

fn names(kind: u8, offsets: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for offset in offsets {
        bytes.extend([0; 12]);
        bytes.extend(offset.to_le_bytes());
        bytes.extend([0, 0, kind, 0, 3, 0]);
        bytes.extend(format!("{offset:04}").bytes());
    }
    bytes
}

#[test]
fn names_of_many_directories_are_read_once() {
    // Each of 250 directories has the names of all, and is named by each.
    let listing = names(1, (0..250).map(|n| n * 32));
    let inodes = directory(listing.len()).repeat(250);
    assert_eq!(check_hostile(&made(&inodes, &listing, 0)), 0);
    // When the root's were read none are left for a directory that has the same.
    let mut walked = names(1, [32].into_iter());
    walked.extend(names(2, [64].into_iter()));
    let mut file = vec![0; 32];
    file[0] = 2;
    file[20..24].fill(0xFF);
    file[28] = 0;
    file[29] = 0x10;
    // A block of zeroes.
    file.extend([0; 4]);
    let inodes = [directory(walked.len()), directory(walked.len()), file].concat();
    let image = made(&inodes, &walked, 0);
    let found = laid(&image);
    assert_eq!(found.files.iter().map(|file| &file.path[..]).collect::<Vec<_>>(), [b"0064"]);
}

#[test]
fn lists_of_blocks_are_read_once() {
    // As a size of a block this is one of 4 KiB that is not compressed.
    let len = 1 << 24 | 4096_u32;
    let list = len as usize / 4096 * 4;
    let listing = names(2, [32, 64].into_iter());
    // The list of the first file has the inode of the second one, and its list, which is holes only.
    for (zeroes, files) in [(list, 1), (list * 2, 2)] {
        let tables = |start: u32| {
            let mut inodes = directory(listing.len()).repeat(3);
            for inode in inodes.chunks_mut(32).skip(1) {
                inode.fill(0);
                inode[0] = 2;
                inode[28..].copy_from_slice(&len.to_le_bytes());
            }
            inodes[48..52].copy_from_slice(&start.to_le_bytes());
            inodes.extend(vec![0; zeroes]);
            made(&inodes, &listing, 0)
        };
        let start = tables(0).len();
        let mut image = tables(start as u32);
        image.resize(start + 2 + 4096, 0);
        let used = image.len() as u64;
        image[40..48].copy_from_slice(&used.to_le_bytes());
        assert_eq!(check_hostile(&image), files);
    }
}

#[test]
fn runs_do_not_overlap() {
    let run = |start, stored: &[u32]| Run {
        codec: Codec::Zstd { level: 3, content: 4096, headed: false },
        start,
        blocks: stored
            .iter()
            .map(|len| Block { stored: *len, content: 4096, coded: true })
            .collect(),
    };
    let mut runs = Runs::new(100..1000);
    assert_eq!(runs.add(run(500, &[100, 50])), Some(0));
    assert_eq!(runs.add(run(100, &[100])), Some(1));
    for (start, stored) in [
        (99, &[10][..]),
        (990, &[11]),
        (500, &[100]),
        (500, &[150]),
        (450, &[51]),
        (649, &[1]),
        (150, &[400]),
        (u64::MAX, &[1]),
    ] {
        assert_eq!(runs.add(run(start, stored)), None, "{start} {stored:?}");
    }
    assert_eq!(runs.add(run(500, &[100, 50])), Some(0));
    assert_eq!(runs.add(run(650, &[350])), Some(2));
    assert_eq!(runs.add(run(200, &[300])), Some(3));
    let starts: Vec<_> = runs.into_order(&mut []).iter().map(|run| run.start).collect();
    assert_eq!(starts, [100, 200, 500, 650]);
}
