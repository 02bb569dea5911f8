use payload_tools::format::{GROUP, Hash, Image, Role, Salt};
use payload_tools::tree::{GroupMismatch, Levels, Shape, TreeError};
use sha2::{Digest, Sha256};

use crate::input::Input;
use crate::{Outcomes, Parser, names};

names!(no_levels, ERRORS, TreeError, {
    TreeError::Shape(_) => "shape",
    TreeError::Length { .. } => "length",
    TreeError::Block { .. } => "block",
});
names!(no_group, MISMATCHES, GroupMismatch, {
    GroupMismatch::Index { .. } => "group index",
    GroupMismatch::Length { .. } => "group length",
    GroupMismatch::Digest { .. } => "group digest",
});

pub(crate) const PARSER: Parser = Parser {
    name: "levels",
    run,
    outcomes: &[ERRORS, MISMATCHES, &["levels", "group"]],
    never: &[],
    seeds,
};

const BLOCK: usize = 4096;
/// The digests of all blocks are put into their parents, and the root is the first block's.
const MEND: u8 = 1;

/// What to do first, the group to check, the image's size in blocks, its salt, the levels, the
/// group's bytes behind them.
fn run(data: &[u8]) -> Outcomes {
    let mut input = Input::new(data);
    let (mode, group, blocks) = (input.byte(), input.byte(), input.u16());
    let size = u64::from(blocks) * BLOCK as u64;
    let salt = Salt::new(input.piece().iter().take(256).copied().collect()).expect("is short");
    let wanted = Shape::of(size).map_or(0, |shape| shape.levels_size()) as usize;
    let mut levels = input.take(wanted).to_vec();
    let data = input.rest();
    let mut root = Hash::from_bytes([7; 32]);
    if mode & MEND != 0 {
        levels.resize(wanted, 0);
        root = mend(&mut levels, size, &salt, data).unwrap_or(root);
    }
    let image = Image { role: Role::Root, size, salt, root };
    let levels = match Levels::verify(&image, levels) {
        Ok(levels) => levels,
        Err(error) => return vec![no_levels(&error)],
    };
    let group = u64::from(group);
    if let Some(zero) = levels.zero_group(group) {
        assert!(levels.check_group(group, zero.bytes()).is_ok());
    }
    let checked = match levels.check_group(group, data) {
        Ok(checked) => {
            assert_eq!((checked.index(), checked.bytes()), (group, data));
            "group".to_owned()
        }
        Err(error) => no_group(&error),
    };
    vec!["levels".to_owned(), checked]
}

/// Makes the chain right from below, and the first group's digest that of `group`.
fn mend(levels: &mut [u8], size: u64, salt: &Salt, group: &[u8]) -> Option<Hash> {
    let digest = |block: &[u8]| -> [u8; 32] {
        Sha256::new_with_prefix(salt.as_bytes()).chain_update(block).finalize().into()
    };
    let digests = |blocks: &[u8]| -> Vec<u8> { blocks.chunks(BLOCK).flat_map(digest).collect() };
    let mut leaves = digests(&group[..group.len().min(GROUP)]);
    leaves.resize(BLOCK, 0);
    let mut below = if size == BLOCK as u64 { digest(group).to_vec() } else { digests(&leaves) };
    // Hash blocks of each level above the leaves, from the lowest.
    let mut counts = Vec::new();
    let mut count = size.div_ceil(GROUP as u64);
    while count > 1 {
        count = count.div_ceil(128);
        counts.push(count as usize);
    }
    let mut end = levels.len();
    for count in counts {
        let level = levels.get_mut(end.checked_sub(count * BLOCK)?..end)?;
        let len = below.len().min(level.len());
        level[..len].copy_from_slice(&below[..len]);
        below = digests(level);
        end -= level.len();
    }
    Some(Hash::from_bytes(*below.first_chunk()?))
}

fn seeds() -> Vec<Vec<u8>> {
    let seed = |mode: u8, group: u8, blocks: u16, levels: &[u8], data: &[u8]| {
        let mut bytes = vec![mode, group];
        bytes.extend(blocks.to_le_bytes());
        bytes.extend([2, 0, 0xaa, 0xbb]);
        [&bytes, levels, data].concat()
    };
    vec![
        seed(MEND, 0, 1, &[], &[1; BLOCK]),
        seed(MEND, 0, 3, &[], &[1; 3 * BLOCK]),
        seed(MEND, 0, 3, &[], &[0; 3 * BLOCK]),
        // Of a second group, which has one block.
        seed(MEND, 1, 129, &[3; BLOCK], &[1; BLOCK]),
        seed(MEND, 2, 129, &[3; BLOCK], &[1; BLOCK]),
        seed(MEND, 0, 129, &[3; BLOCK], &[1; BLOCK]),
        // Two levels.
        seed(MEND, 0, 128 * 128 + 1, &[3; 3 * BLOCK], &[]),
        seed(0, 0, 129, &[3; BLOCK], &[]),
        seed(0, 0, 129, &[3; 100], &[]),
        seed(0, 0, 0, &[], &[]),
    ]
}
