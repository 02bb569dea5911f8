//! The names in a block of a directory: "Linear (Classic) Directories". The
//! blocks of "Hash Tree Directories" that hold no names, and the checksums at the
//! end of blocks, look like unused entries there.

use crate::delta::files::numbers::{u16_at, u32_at};

/// Bytes of an entry before its name.
const HEAD: usize = 8;

/// The inodes and names in a block, up to where it does not hold.
pub(super) fn entries(block: &[u8]) -> Entries<'_> {
    Entries { rest: block }
}

pub(super) struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let inode = u32_at(self.rest, 0).ok()?;
            let len = usize::from(u16_at(self.rest, 4).ok()?);
            let (entry, rest) = self.rest.split_at_checked(len)?;
            let (head, name) = entry.split_at_checked(HEAD)?;
            // Without the filetype feature it has 16 bits, of which names use 8.
            let name = name.get(..usize::from(*head.get(6)?))?;
            self.rest = rest;
            if inode != 0 && is_name(name) {
                return Some((inode, name));
            }
        }
    }
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(inode: u32, len: u16, name: &[u8]) -> Vec<u8> {
        let mut bytes = [&inode.to_le_bytes()[..], &len.to_le_bytes(), &[0; 2], name].concat();
        bytes[6] = name.len() as u8;
        bytes.resize(bytes.len().max(len.into()), 0);
        bytes
    }

    #[track_caller]
    fn check(block: &[Vec<u8>], expected: &[(u32, &[u8])]) {
        assert_eq!(entries(&block.concat()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn names_that_name_nothing_here_are_left_out() {
        let names: [&[u8]; 7] = [b".", b"..", b"", b"a/b", b"a\0b", b"...", b"\xFF"];
        let block = names.map(|name| entry(5, 16, name));
        check(&block, &[(5, b"..."), (5, b"\xFF")]);
        check(&[entry(0, 16, b"free"), entry(7, 40, b"used")], &[(7, b"used")]);
    }

    #[test]
    fn an_entry_that_does_not_hold_is_the_last() {
        let (good, after) = (entry(5, 12, b"good"), entry(6, 12, b"lost"));
        for len in [0, 7, 8, 11, 25, u16::MAX] {
            let mut bad = entry(6, 12, b"evil");
            bad[4..6].copy_from_slice(&len.to_le_bytes());
            check(&[good.clone(), bad, after.clone()], &[(5, b"good")]);
        }
        check(&[good.clone(), vec![1; 7]], &[(5, b"good")]);
        check(&[], &[]);
    }
}
