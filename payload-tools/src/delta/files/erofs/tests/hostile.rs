//! Images that do not hold.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Reads an image, and counts how much.
struct Counted<'a>(&'a [u8], AtomicU64);

impl ReadAt for Counted<'_> {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.0.fill_at(buf, offset)
    }
}

fn found(image: &[u8]) -> Option<Layout> {
    layout(&image.to_vec(), image.len() as u64, 1 << 20).ok()
}

/// What must hold of any image.
fn check_hostile(image: &[u8]) {
    let counted = Counted(image, AtomicU64::new(0));
    let size = image.len() as u64;
    let layout = match layout(&counted, size, 1 << 20) {
        Ok(layout) => layout,
        Err(Flaw::Damaged) => return,
        Err(Flaw::Io(error)) => panic!("{error}"),
    };
    let mut end = 0;
    for run in &layout.runs {
        assert!(run.start >= end && !run.blocks.is_empty());
        end = run.start + run.stored_len();
        assert!(end <= size);
        let holds = |block: &Block| {
            let most = if block.coded { block.stored * 255 } else { block.stored };
            block.stored > 0 && (1..=most).contains(&block.content)
        };
        assert!(run.blocks.iter().all(holds), "{run:?}");
    }
    for file in &layout.files {
        let mut end = 0;
        for LaidPiece { at, lie } in &file.pieces {
            let range = match lie {
                Lie::Run { index, content } => {
                    assert!(content.end <= layout.runs[*index].content_len());
                    content
                }
                Lie::Image(range) => {
                    assert!(range.end <= size);
                    range
                }
            };
            assert!(*at >= end && range.start < range.end, "{file:?}");
            end = at + (range.end - range.start);
        }
        assert!(end <= file.len, "{file:?}");
    }
    let pieces: usize = layout.files.iter().map(|file| file.pieces.len()).sum();
    assert!(pieces as u64 <= size / 16);
    let read = counted.1.into_inner();
    assert!(read <= size * 3, "{read} of {size}");
}

/// Bytes of the image that belong to no file and no run, in pieces of 32 that are not empty.
fn structures(image: &[u8]) -> Vec<usize> {
    let layout = found(image).unwrap();
    let mut is_content = vec![false; image.len()];
    let lies = layout.files.iter().flat_map(|file| &file.pieces).map(|piece| &piece.lie);
    let images = lies.filter_map(|lie| match lie {
        Lie::Image(range) => Some(range.clone()),
        Lie::Run { .. } => None,
    });
    let runs = layout.runs.iter().map(|run| run.start..run.start + run.stored_len());
    for range in images.chain(runs) {
        is_content[range.start as usize..range.end as usize].fill(true);
    }
    let is_structure = |at: &usize| {
        let start = at / 32 * 32;
        !is_content[*at] && image[start..].iter().take(32).any(|byte| *byte != 0)
    };
    (0..image.len()).filter(is_structure).collect()
}

/// Small images whose structures are of all kinds.
fn images() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..20 {
        put(folder.path(), &format!("many/{n}"), &text(n, n as usize * 700));
    }
    put(folder.path(), "text", &text(1, 300_000));
    put(folder.path(), "noise", &noise(2, 20_000));
    put(folder.path(), "folder/zeroes", &[0; 300_000]);
    fs_err::hard_link(folder.path().join("text"), folder.path().join("link")).unwrap();
    let options: [&[&str]; 5] = [
        &["-zlz4hc"],
        &["-zlz4hc", "-C16384"],
        &["-zlz4hc", "-Elegacy-compress"],
        &["-zlz4hc", "-Eztailpacking"],
        &["--chunksize=4096"],
    ];
    options.map(|options| image_of(folder.path(), options)).to_vec()
}

#[test]
fn a_damaged_image_makes_less_and_ends() {
    for (seed, image) in images().into_iter().enumerate() {
        let structures = structures(&image);
        assert!(structures.len() > 1000);
        let chances = noise(seed as u64, 300 * 16);
        for (number, chance) in chances.chunks_exact(16).enumerate() {
            let mut image = image.clone();
            let count = 1 + usize::from(chance[0] % 3);
            for change in chance[1..].chunks_exact(5).take(count) {
                let place = u32::from_le_bytes(*change.first_chunk().unwrap()) as usize;
                // Some in the superblock.
                let at = match number % 4 {
                    0 => 1024 + place % 128,
                    _ => structures[place % structures.len()],
                };
                image[at] = match change[4] % 4 {
                    0 => 0xFF,
                    1 => 0,
                    _ => image[at] ^ 1 << (change[4] / 4 % 8),
                };
            }
            check_hostile(&image);
        }
    }
}

#[test]
fn an_image_that_ends_early_makes_less() {
    for image in images() {
        let whole = found(&image).unwrap();
        for cut in noise(1, 100).chunks_exact(2) {
            let share = u16::from_le_bytes([cut[0], cut[1]]);
            let len = image.len() * usize::from(share) / 65536;
            check_hostile(&image[..len]);
        }
        for len in [0, 1, 1024, 1151, 1152, 1200, 4096, 8192] {
            check_hostile(&image[..len]);
        }
        let shorter = found(&image[..image.len() - BLOCK]);
        assert!(shorter.is_none_or(|shorter| shorter.files.len() <= whole.files.len()));
    }
}

#[test]
fn indexes_are_not_read_over_and_over() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..40 {
        put(folder.path(), &format!("{n}"), &vec![b'a'; 20_000 + n]);
    }
    let mut image = image_of(folder.path(), &["-zlz4hc", "-Eforce-inode-extended"]);
    assert_eq!(found(&image).unwrap().files.len(), 40);
    // Attributes of each inode reach to the end of the image, where indexes for 2 GiB follow.
    let start = image.len();
    let lens = (0..start - 8).step_by(8).filter(|at| {
        let len = u64::from_le_bytes(*image[*at..].first_chunk().unwrap());
        (20_000..20_040).contains(&len)
    });
    let inodes: Vec<usize> = lens.map(|at| at - 8).collect();
    assert_eq!(inodes.len(), 40);
    for inode in inodes {
        let attributes = u16::try_from((start - inode - 64 - 8) / 4).unwrap();
        image[inode + 2..][..2].copy_from_slice(&attributes.to_le_bytes());
        image[inode + 8..][..8].copy_from_slice(&(2u64 << 30).to_le_bytes());
    }
    image.extend([0; 8]);
    image.extend([0, 0x10, 1, 0x20, 0, 0, 0, 0]);
    image.extend([1, 0x20, 1, 0x20, 0, 0, 0, 0].repeat((1 << 18) - 1));
    check_hostile(&image);
}
