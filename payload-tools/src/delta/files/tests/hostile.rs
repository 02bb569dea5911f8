//! Images that do not hold.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;

/// Reads an image, and counts how often.
struct Counted<'a>(&'a [u8], AtomicU64);

impl ReadAt for Counted<'_> {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.fill_at(buf, offset)
    }
}

/// What must hold of any image.
fn check_hostile(image: &[u8]) -> Result<(), TestCaseError> {
    let counted = Counted(image, AtomicU64::new(0));
    let size = image.len() as u64;
    let files = files(&counted, size).unwrap();
    for Piece { image: range, .. } in files.iter().flat_map(|file| &file.pieces) {
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
    for Piece { image: range, .. } in files.iter().flat_map(|file| &file.pieces) {
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
    let end = whole["20"].pieces[0].image.end - 1;
    let cut = found(&bytes[..end as usize]);
    let inside = |file: &&ImageFile| file.pieces.iter().all(|piece| piece.image.end <= end);
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
    let all = files(&bytes, bytes.len() as u64).unwrap();
    let paths = all.iter().map(|file| (file.path.as_slice(), file.pieces[0].at));
    let expected: BTreeMap<&[u8], u64> =
        BTreeMap::from([(&b"gap"[..], BLOCK as u64), (b"whole", 0)]);
    assert_eq!(paths.collect::<BTreeMap<_, _>>(), expected);
}

/// A file whose extents are found by a chain of nodes, each one level above the
/// next.
#[test]
fn a_tree_is_five_levels_deep_at_most() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "file", &noise(1, 4 * BLOCK));
    let start =
        found(&bytes_of(&image_of(folder.path(), 8 << 10, &[])))["file"].pieces[0].image.start;
    let (first, chain) = (start as u32 / BLOCK as u32, 2000u32);
    // The second piece follows the first one in the image, too.
    let leaf = [(0, 1, first), (1, 1, first + 1), (2, 1, first + 3), (3, 1, first + 2)];
    for (depth, last, expected) in [(1, 0, 3), (5, 0, 3), (6, 0, 0), (5, 1, 0)] {
        let image = image_of(folder.path(), 8 << 10, &[]);
        let root = [
            "block[0] 0x1F30A".to_owned(),
            format!("block[1] {}", 4 | depth << 16),
            "block[3] 0".to_owned(),
            format!("block[4] {chain}"),
            "block[5] 0".to_owned(),
        ];
        debugfs(&image, &root.map(|edit| format!("set_inode_field file {edit}\n")).concat());
        let mut bytes = bytes_of(&image);
        let mut put = |block: u32, entries: &[[u32; 3]], depth: u32| {
            let head = [0xF30A | (entries.len() as u32) << 16, 340 | depth << 16, 0];
            let words = [&[head], entries].concat().concat();
            let words: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
            bytes[block as usize * BLOCK..][..words.len()].copy_from_slice(&words);
        };
        for level in 1..depth {
            put(chain + level - 1, &[[0, chain + level, 0]], depth - level);
        }
        put(chain + depth - 1, &leaf.map(|(at, len, start)| [at, len, start]), last);
        let pieces = found(&bytes).get("file").map_or(0, |file| file.pieces.len());
        assert_eq!(pieces, expected, "{depth} levels, the last one being {last}");
    }
}

#[test]
fn a_superblock_that_does_not_hold_makes_no_files() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a", &noise(1, 10_000));
    let image = image_of(folder.path(), 8 << 10, &[]);
    let bytes = bytes_of(&image);
    assert_eq!(found(&bytes).len(), 1);
    // Offsets in the superblock, and what is written there.
    let edits: [(usize, &[u8]); 10] = [
        (0x0, &[1, 0, 0, 0]),
        (0x14, &[1]),
        (0x18, &[1]),
        (0x28, &[0, 0, 0, 0]),
        (0x38, b"EF"),
        (0x4C, &[0]),
        (0x58, &[64, 0]),
        (0x58, &[0, 0x20]),
        // A journal to be replayed.
        (0x60, &[0xC6]),
        (0xFE, &[32]),
    ];
    for (at, edit) in edits {
        let mut bytes = bytes.clone();
        bytes[1024 + at..][..edit.len()].copy_from_slice(edit);
        check(&bytes, &BTreeMap::new());
    }
    // The root is a file.
    debugfs(&image, "set_inode_field <2> mode 0100755\n");
    check(&bytes_of(&image), &BTreeMap::new());
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
