use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::format::{BLOCK, GROUP, Image, Role, Salt};

/// Bytes in which no two blocks are alike.
fn image_bytes(blocks: usize) -> Vec<u8> {
    let mut bytes = vec![0; blocks * BLOCK];
    for (index, block) in bytes.chunks_mut(BLOCK).enumerate() {
        block[..8].copy_from_slice(&(index as u64 + 1).to_le_bytes());
        block[BLOCK - 1] = 0xA5;
    }
    bytes
}

fn salt(bytes: &[u8]) -> Salt {
    Salt::new(bytes.to_vec()).unwrap()
}

fn built(bytes: &[u8]) -> (Tree, Image) {
    let builder = TreeBuilder::new(salt(b"salt"));
    let tree = builder.build(&bytes.to_vec(), bytes.len() as u64, &|_| ()).unwrap();
    let image = builder.image(Role::Root, bytes.len() as u64, &tree);
    (tree, image)
}

fn verified(bytes: &[u8]) -> Levels {
    let (tree, image) = built(bytes);
    Levels::verify(&image, tree.levels).unwrap()
}

fn group(bytes: &[u8], index: u64) -> &[u8] {
    bytes.chunks(GROUP).nth(index as usize).unwrap()
}

#[test]
fn every_group_of_the_image_is_accepted_and_no_other() {
    for blocks in [1, 2, 127, 128, 129, 256, 300] {
        let bytes = image_bytes(blocks);
        let (tree, _) = built(&bytes);
        let levels = verified(&bytes);
        let mut leaves = Vec::new();
        for index in 0..levels.group_count() {
            let checked = levels.check_group(index, group(&bytes, index)).unwrap();
            assert_eq!(checked.offset(), index * GROUP as u64);
            assert_eq!(checked.bytes(), group(&bytes, index));
            leaves.extend_from_slice(checked.leaves());
        }
        // An image of one block has no leaves level: its digest is the root.
        assert_eq!(&leaves[..tree.leaves.len()], tree.leaves, "{blocks} blocks");
        let past = levels.check_group(levels.group_count(), &bytes[..BLOCK]).unwrap_err();
        assert!(matches!(past, GroupMismatch::Index { .. }));
        assert!(levels.check_group(u64::MAX, &bytes[..BLOCK]).is_err());
    }
}

#[test]
fn a_group_in_the_wrong_place_or_of_the_wrong_length_is_refused() {
    let bytes = image_bytes(300);
    let levels = verified(&bytes);
    let moved = levels.check_group(1, group(&bytes, 0)).unwrap_err();
    assert!(matches!(moved, GroupMismatch::Digest { index: 1, .. }));
    for len in [0, 1, GROUP - BLOCK, GROUP - 1] {
        let short = levels.check_group(0, &bytes[..len]).unwrap_err();
        assert!(matches!(short, GroupMismatch::Length { found, .. } if found == len));
    }
    // Zeroes at the end of the last group hash to other leaves, but lengths come first.
    let padded = [group(&bytes, 2), &[0; BLOCK]].concat();
    assert!(matches!(levels.check_group(2, &padded).unwrap_err(), GroupMismatch::Length { .. }));
}

#[test]
fn zero_groups_are_known_without_their_bytes() {
    let mut bytes = image_bytes(4 * 128 + 5);
    bytes[GROUP..2 * GROUP].fill(0);
    bytes[4 * GROUP..].fill(0);
    let levels = verified(&bytes);
    let zero: Vec<_> = (0..6).map(|index| levels.zero_group(index).is_some()).collect();
    assert_eq!(zero, [false, true, false, false, true, false]);
    for index in [1, 4] {
        let known = levels.zero_group(index).unwrap();
        let hashed = levels.check_group(index, group(&bytes, index)).unwrap();
        assert_eq!(known.bytes(), hashed.bytes());
        assert_eq!(known.leaves(), hashed.leaves());
    }
    let one_block = verified(&[0; BLOCK]);
    assert_eq!(one_block.zero_group(0).unwrap().bytes().len(), BLOCK);
    let full = verified(&vec![0; 2 * GROUP]);
    assert!(full.zero_group(0).is_some() && full.zero_group(1).is_some());
}

#[test]
fn levels_of_another_size_are_refused() {
    let bytes = image_bytes(300);
    let (tree, image) = built(&bytes);
    for levels in [vec![], tree.levels[1..].to_vec(), [tree.levels.clone(), vec![0]].concat()] {
        let error = Levels::verify(&image, levels).unwrap_err();
        assert!(matches!(error, TreeError::Length { wanted: 4096, .. }));
    }
    let odd = Image { size: 4097, ..image };
    assert!(matches!(Levels::verify(&odd, tree.levels).unwrap_err(), TreeError::Shape(_)));
}

#[test]
fn the_salt_and_the_root_are_part_of_the_commitment() {
    let (tree, image) = built(&image_bytes(300));
    let salted = Image { salt: salt(b"other"), ..image.clone() };
    assert!(Levels::verify(&salted, tree.levels.clone()).is_err());
    let root = crate::format::Hash::of(b"other");
    let rooted = Image { root, ..image };
    let error = Levels::verify(&rooted, tree.levels).unwrap_err();
    assert_eq!(error, TreeError::Block { root, block: 0 });
}

#[test]
fn the_tree_does_not_depend_on_the_threads() {
    let bytes = image_bytes(1000);
    let builder = TreeBuilder::new(salt(&[7; 32]));
    let build = |threads| {
        let done = AtomicU64::new(0);
        let builder = builder.clone().threads(NonZero::new(threads).unwrap());
        let progress = |bytes| _ = done.fetch_add(bytes, Ordering::Relaxed);
        let tree = builder.build(&bytes, bytes.len() as u64, &progress).unwrap();
        assert_eq!(done.into_inner(), bytes.len() as u64);
        tree
    };
    let one = build(1);
    for threads in [2, 3, 16] {
        assert_eq!(build(threads), one);
    }
}

#[test]
fn a_source_that_ends_early_is_named_with_the_place() {
    let bytes = image_bytes(200);
    let error =
        TreeBuilder::new(Salt::default()).build(&bytes, 300 * BLOCK as u64, &|_| ()).unwrap_err();
    assert!(matches!(error, BuildError::Read { offset, .. } if offset >= GROUP as u64));
}

#[test]
fn a_group_that_was_never_hashed_leaves_no_tree() {
    let bytes = image_bytes(300);
    let hasher = LeafHasher::new(&Salt::default());
    let mut assembler = TreeAssembler::new(&Salt::default(), bytes.len() as u64).unwrap();
    for index in [2, 0, 2, 7] {
        assembler.add(index, &hasher.leaves(group(&bytes, index.min(2))));
    }
    assert!(matches!(assembler.finish().unwrap_err(), BuildError::Missing { missing: 1 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A flipped byte is found in exactly its group.
    #[test]
    fn a_flipped_byte_is_found_in_exactly_its_group(
        blocks in 1usize..300, at: proptest::sample::Index, flip in 1u8..,
    ) {
        let mut bytes = image_bytes(blocks);
        let levels = verified(&bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        for index in 0..levels.group_count() {
            let accepted = levels.check_group(index, group(&bytes, index)).is_ok();
            prop_assert_eq!(accepted, index != (at / GROUP) as u64);
        }
    }

    /// No byte of the levels can differ, padding included.
    #[test]
    fn a_flipped_byte_of_the_levels_is_found(at: proptest::sample::Index, flip in 1u8..) {
        // Three levels above the data: 129 groups.
        let (tree, image) = many_groups();
        let mut levels = tree.levels;
        let at = at.index(levels.len());
        levels[at] ^= flip;
        let error = Levels::verify(&image, levels).unwrap_err();
        let found = matches!(error, TreeError::Block { block, .. } if block == at / BLOCK);
        prop_assert!(found, "byte {}: {:?}", at, error);
    }
}

fn many_groups() -> (Tree, Image) {
    let size = 129 * GROUP as u64;
    let hasher = LeafHasher::new(&Salt::default());
    let mut assembler = TreeAssembler::new(&Salt::default(), size).unwrap();
    for index in 0..129 {
        assembler.add(index, &hasher.leaves(&index.to_le_bytes()));
    }
    let tree = assembler.finish().unwrap();
    let image = TreeBuilder::new(Salt::default()).image(Role::Root, size, &tree);
    (tree, image)
}
