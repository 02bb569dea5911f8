//! The names in a block of a directory: "Directories".

use crate::delta::files::numbers::{u16_at, u64_at};

/// `struct erofs_dirent`.
const ENTRY: usize = 12;

/// The inodes and names in a block, up to where it does not hold.
pub(super) fn entries(block: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    // The names follow the entries, so that the first one says how many of those there are.
    let entries = u16_at(block, 8).map_or(0, |at| usize::from(at) / ENTRY);
    let entry = move |index: usize| {
        let at = index * ENTRY;
        let start = usize::from(u16_at(block, at + 8).ok()?);
        let end = if index + 1 < entries {
            u16_at(block, at + ENTRY + 8).ok()?.into()
        } else {
            block.len()
        };
        let name = block.get(start..end)?;
        // The last one ends with the block, or before zeroes.
        let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        Some((u64_at(block, at).ok()?, &name[..len]))
    };
    (0..entries).map_while(entry).filter(|(_, name)| is_name(name))
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(names: &[(u64, u16, &[u8])], end: &[u8]) -> Vec<u8> {
        let head = |(inode, at, _): &(u64, u16, &[u8])| {
            [&inode.to_le_bytes()[..], &at.to_le_bytes(), &[1, 0]].concat()
        };
        let heads: Vec<u8> = names.iter().flat_map(head).collect();
        let names = names.iter().flat_map(|(_, _, name)| name.iter().copied());
        heads.into_iter().chain(names).chain(end.iter().copied()).collect()
    }

    #[track_caller]
    fn check(block: &[u8], expected: &[(u64, &[u8])]) {
        assert_eq!(entries(block).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn names_end_at_the_next_and_the_last_at_zeroes() {
        let names: [(u64, u16, &[u8]); 3] = [(7, 36, b"."), (8, 37, b"ab"), (9, 39, b"c")];
        check(&block(&names, b""), &[(8, b"ab"), (9, b"c")]);
        check(&block(&names, b"d\0\0"), &[(8, b"ab"), (9, b"cd")]);
        check(&block(&[(7, 24, b".."), (8, 26, b"a/b")], b""), &[]);
    }

    #[test]
    fn an_entry_that_does_not_hold_is_the_last() {
        for at in [100, 36, u16::MAX] {
            let names: [(u64, u16, &[u8]); 3] = [(7, 36, b"a"), (8, 37, b"b"), (9, at, b"c")];
            check(&block(&names, b""), &[(7, b"a")]);
        }
        check(&[], &[]);
        check(&[0; 12], &[]);
        check(&[0xFF; 40], &[]);
    }
}
