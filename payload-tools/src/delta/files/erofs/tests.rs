mod hostile;

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;
use crate::delta::files::tests::{erofs_of as image_of, put, text};
use crate::testing::noise;

type Files = BTreeMap<String, Vec<u8>>;

/// Files of all kinds, and what of them has content: of hard links the first path.
fn tree() -> (TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let mut mixed = Vec::new();
    for n in 0..12 {
        mixed.extend(text(n, 21_000 + n as usize * 777));
        mixed.extend(noise(n, 13_000 + n as usize * 555));
    }
    let mut zeroes = vec![0; 2 << 20];
    zeroes[1_234_567..1_240_000].copy_from_slice(&noise(4, 5433));
    let mut files = Files::from([
        ("empty".to_owned(), Vec::new()),
        ("tiny".to_owned(), b"tiny".to_vec()),
        ("text".to_owned(), text(1, 100 << 10)),
        ("folder/same".to_owned(), text(1, 100 << 10)),
        ("large".to_owned(), text(2, 3 << 20)),
        ("noise".to_owned(), noise(3, 50_000)),
        ("mixed".to_owned(), mixed),
        ("zeroes".to_owned(), zeroes),
        ("block".to_owned(), noise(5, BLOCK)),
        ("blocks".to_owned(), text(6, 64 << 10)),
        (format!("{}file", "deep/".repeat(40)), text(7, 30_000)),
    ]);
    for n in 0..320 {
        let path = format!("many/a file with a rather long name {n}");
        files.insert(path, text(n + 9, n as usize * 50));
        files.insert(format!("many/{n}/file"), text(n, 5000 + n as usize * 100));
    }
    for (path, bytes) in &files {
        put(folder.path(), path, bytes);
    }
    for link in ["a link", "many/link"] {
        fs_err::hard_link(folder.path().join("text"), folder.path().join(link)).unwrap();
    }
    std::os::unix::fs::symlink("text", folder.path().join("symlink")).unwrap();
    let linked = files.remove("text").unwrap();
    files.insert("a link".to_owned(), linked);
    files.retain(|_, bytes| !bytes.is_empty());
    (folder, files)
}

/// A block of LZ4 to its end.
fn lz4(coded: &[u8]) -> Option<Vec<u8>> {
    fn more(start: u8, rest: &mut std::slice::Iter<'_, u8>) -> Option<usize> {
        let mut len = usize::from(start);
        let mut is_longer = start == 15;
        while is_longer {
            let byte = *rest.next()?;
            len += usize::from(byte);
            is_longer = byte == 255;
        }
        Some(len)
    }
    let mut content = Vec::new();
    let mut rest = coded.iter();
    while let Some(token) = rest.next() {
        for _ in 0..more(token >> 4, &mut rest)? {
            content.push(*rest.next()?);
        }
        let Some(low) = rest.next() else { break };
        let distance = usize::from(u16::from_le_bytes([*low, *rest.next()?]));
        for _ in 0..more(token & 15, &mut rest)? + 4 {
            content.push(*content.get(content.len().checked_sub(distance)?)?);
        }
    }
    Some(content)
}

/// The contents of the runs. They lie one behind the other, and each block decodes to its content.
fn contents(image: &[u8], layout: &Layout) -> Vec<Vec<u8>> {
    let mut end = 0;
    let content = |run: &Run| {
        assert!(run.start >= end && !run.blocks.is_empty(), "{run:?}");
        let Codec::Lz4 { stored: stored_max, .. } = run.codec else { panic!("{run:?}") };
        end = run.start;
        let mut content = Vec::new();
        for block in &run.blocks {
            assert!(block.stored <= stored_max && block.content > 0);
            let stored = &image[end as usize..][..block.stored as usize];
            end += u64::from(block.stored);
            let (kept, behind) = if block.coded {
                let zeroes = stored.iter().position(|byte| *byte != 0).unwrap();
                (lz4(&stored[zeroes..]).unwrap(), &[][..])
            } else {
                let (kept, behind) = stored.split_at(block.content as usize);
                (kept.to_vec(), behind)
            };
            assert_eq!(kept.len(), block.content as usize, "{block:?} in {run:?}");
            assert!(behind.iter().all(|byte| *byte == 0));
            content.extend(kept);
        }
        assert_eq!(content.len() as u64, run.content_len());
        content
    };
    layout.runs.iter().map(content).collect()
}

/// All of the files that the image says.
fn files_of(image: &[u8], layout: &Layout) -> Files {
    let runs = contents(image, layout);
    let read = |file: &LaidFile| {
        let mut bytes = vec![0; file.len as usize];
        for LaidPiece { at, lie } in &file.pieces {
            let piece = match lie {
                Lie::Run { index, content } => {
                    &runs[*index][content.start as usize..content.end as usize]
                }
                Lie::Image(range) => &image[range.start as usize..range.end as usize],
            };
            bytes[*at as usize..][..piece.len()].copy_from_slice(piece);
        }
        (String::from_utf8(file.path.clone()).unwrap(), bytes)
    };
    let files: Files = layout.files.iter().map(read).collect();
    assert_eq!(files.len(), layout.files.len(), "each once");
    files
}

/// Reads an image whose files are these; those that are there must be right. Says how many are.
#[track_caller]
fn check(image: &[u8], expected: &Files) -> (Layout, usize) {
    let layout = layout(&image.to_vec(), image.len() as u64, 1 << 20).unwrap();
    let found = files_of(image, &layout);
    for (path, bytes) in &found {
        assert!(expected.get(path) == Some(bytes), "{path}");
    }
    (layout, found.len())
}

fn blocks(layout: &Layout) -> impl Iterator<Item = &Block> {
    layout.runs.iter().flat_map(|run| &run.blocks)
}

#[test]
fn every_file_is_found_however_blocks_are_compressed() {
    let (folder, files) = tree();
    let options: [&[&str]; 7] = [
        &["-zlz4hc"],
        &["-zlz4"],
        &["-zlz4", "-C8192"],
        &["-zlz4hc,12", "-C65536"],
        &["-Elegacy-compress", "-zlz4hc"],
        &["-Elegacy-compress", "-zlz4hc", "-C16384"],
        &["-zlz4hc", "-Eforce-inode-extended"],
    ];
    for options in options {
        let image = image_of(folder.path(), options);
        let (layout, found) = check(&image, &files);
        assert_eq!(found, files.len(), "{options:?}");
        // Of what lies in blocks, most does in compressed ones.
        let coded = blocks(&layout).filter(|block| block.coded).count();
        assert!(coded > 100, "{options:?}: {coded}");
        let largest = blocks(&layout).map(|block| block.stored).max().unwrap();
        let Codec::Lz4 { level: 9, stored } = layout.runs[0].codec else { panic!() };
        let expected = match options.last() {
            Some(&"-C65536") => 65536,
            Some(&"-C16384") => 16384,
            Some(&"-C8192") => 8192,
            _ => 4096,
        };
        assert_eq!((largest, stored), (expected, expected), "{options:?}");
        // In large blocks nearly everything gets shorter.
        let plain = blocks(&layout).filter(|block| !block.coded).count();
        assert!(plain > 10 || expected > 8192, "{options:?}: {plain}");
    }
}

#[test]
fn without_compression_files_lie_in_the_image() {
    let (folder, files) = tree();
    let options: [&[&str]; 4] =
        [&[], &["-Enoinline_data"], &["-Eforce-inode-extended"], &["--chunksize=8192"]];
    for options in options {
        let image = image_of(folder.path(), options);
        let (layout, found) = check(&image, &files);
        assert_eq!((found, layout.runs.len()), (files.len(), 0), "{options:?}");
    }
}

#[test]
fn ends_of_files_that_lie_elsewhere_make_fewer_files() {
    let (folder, files) = tree();
    let tails = image_of(folder.path(), &["-zlz4hc", "-Eztailpacking"]);
    let (layout, found) = check(&tails, &files);
    // What does not compress has no such end; neither has what ends with a block.
    assert!((1..files.len()).contains(&found), "{found}");
    assert!(layout.files.iter().any(|file| file.path == b"noise"));
    // All but the ends are there nevertheless.
    let content: u64 = layout.runs.iter().map(Run::content_len).sum();
    assert!(content > 8 << 20, "{content}");
    // Before 1.6, mkfs.erofs does not know fragments, and does without.
    let fragments = image_of(folder.path(), &["-zlz4hc", "-C65536", "-Efragments"]);
    let (layout, _) = check(&fragments, &files);
    let content: u64 = layout.runs.iter().map(Run::content_len).sum();
    assert!(content > 4 << 20, "{content}");
}

#[test]
fn what_is_not_known_makes_no_files() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "text", &text(1, 100_000));
    let image = image_of(folder.path(), &["-zlz4hc"]);
    let found = |image: &[u8]| layout(&image.to_vec(), image.len() as u64, 1 << 20).ok();
    assert_eq!(found(&image).unwrap().files.len(), 1);
    let with = |at: usize, byte: u8| {
        let mut image = image.clone();
        image[1024 + at] = byte;
        found(&image)
    };
    // The magic number, blocks of 512 bytes, a feature, a device, blocks of directories.
    for (at, byte) in [(0, 0), (12, 9), (80, 0x81), (81, 0x1), (86, 1), (90, 1)] {
        assert_eq!(with(at, byte), None, "{at}");
    }
    // LZ4 that is not at the end of its blocks: only what is said of the file is known.
    let Some(Layout { runs, files, records }) = with(80, 0) else { panic!() };
    let paths: Vec<&[u8]> = records.iter().map(|record| record.path.as_slice()).collect();
    assert_eq!((runs.len(), files.len(), paths), (0, 0, vec![&b""[..], b"/"]));
    assert_eq!(found(b""), None);
    // Names take more memory than is allowed.
    let layout = layout(&image, image.len() as u64, 100).unwrap();
    assert_eq!((layout.runs.len(), layout.files.len()), (0, 0));
}

#[test]
fn runs_share_nothing_and_files_lie_in_those_that_are_left() {
    let block = |content, coded| Block { stored: 4096, content, coded };
    let cluster = |at, start: u64, content, coded| clusters::Cluster {
        at,
        content,
        start: start * 4096,
        stored: 4096,
        coded,
    };
    let clusters = |found: &[clusters::Cluster]| clusters::Clusters {
        found: found.to_vec(),
        end: 0,
        are_whole: true,
        are_interlaced: true,
        blocks_max: 1,
    };
    let mut runs = Runs::default();
    let files = [
        &[cluster(0, 8, 9000, true), cluster(9000, 9, 5000, true)][..],
        &[cluster(0, 5, 9000, true)],
        // The same, and over another.
        &[cluster(0, 8, 9000, true), cluster(9000, 9, 5000, true)],
        &[cluster(0, 9, 5000, true)],
        // Turned around in its block.
        &[cluster(0, 20, 5000, true), cluster(5000, 21, 4000, false), cluster(9000, 22, 1, true)],
    ];
    let mut laid: Vec<LaidFile> = Vec::new();
    for (name, found) in files.iter().enumerate() {
        let pieces = runs.add(&clusters(found));
        laid.push(LaidFile { path: vec![b'0' + name as u8], len: 1, pieces });
    }
    // A file lies in a run as it is.
    let pieces = vec![LaidPiece { at: 0, lie: Lie::Image(6 * 4096 - 1..6 * 4096 + 1) }];
    laid.push(LaidFile { path: b"5".to_vec(), len: 2, pieces });
    let layout = runs.finish(laid, Vec::new());
    let codec = Codec::Lz4 { level: 9, stored: 4096 };
    let run =
        |start: u64, blocks: &[Block]| Run { codec, start: start * 4096, blocks: blocks.to_vec() };
    let expected = [
        run(5, &[block(9000, true)]),
        run(8, &[block(9000, true), block(5000, true)]),
        run(20, &[block(5000, true)]),
        run(22, &[block(1, true)]),
    ];
    assert_eq!(layout.runs, expected);
    let paths: Vec<&[u8]> = layout.files.iter().map(|file| file.path.as_slice()).collect();
    assert_eq!(paths, [b"0", b"1", b"2", b"4"]);
    let in_run = |at, index, end| LaidPiece { at, lie: Lie::Run { index, content: 0..end } };
    assert_eq!(layout.files[0].pieces, [in_run(0, 1, 14_000)]);
    assert_eq!(layout.files[2].pieces, [in_run(0, 1, 14_000)]);
    let image = |at, range| LaidPiece { at, lie: Lie::Image(range) };
    let start = 21 * 4096;
    let turned = [
        in_run(0, 2, 5000),
        image(5000, start + 904..start + 4096),
        image(8192, start..start + 808),
        in_run(9000, 3, 1),
    ];
    assert_eq!(layout.files[3].pieces, turned);
}
