//! "Directory Table": the names of a directory, in groups behind a header each.

use crate::delta::files::numbers::{u16_at, u32_at};

const HEADER: usize = 12;
const ENTRY: usize = 8;
/// Entries behind a header at most.
const GROUP_MAX: u32 = 256;

/// A name and what it names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// A reference to its inode: the block in the table, and 16 bits of offset in its content.
    pub inode: u64,
    pub kind: Kind,
    pub name: &'a [u8],
}

/// What an entry names; extended inodes are named as basic ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    Regular,
    Other,
}

/// The entries of a directory, up to where it does not hold.
pub(super) fn entries(listing: &[u8]) -> Entries<'_> {
    Entries { rest: listing, left: 0, block: 0 }
}

pub(super) struct Entries<'a> {
    rest: &'a [u8],
    /// Entries behind the last header that are still to come.
    left: u32,
    /// Where their inodes are.
    block: u32,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.left == 0 {
                let (header, rest) = self.rest.split_at_checked(HEADER)?;
                self.left = u32_at(header, 0).ok()?.checked_add(1)?;
                self.left = Some(self.left).filter(|left| *left <= GROUP_MAX)?;
                self.block = u32_at(header, 4).ok()?;
                self.rest = rest;
            }
            self.left -= 1;
            let (head, rest) = self.rest.split_at_checked(ENTRY)?;
            let len = usize::from(u16_at(head, 6).ok()?) + 1;
            let (name, rest) = rest.split_at_checked(len)?;
            self.rest = rest;
            let inode = u64::from(self.block) << 16 | u64::from(u16_at(head, 0).ok()?);
            let kind = match u16_at(head, 4).ok()? {
                1 => Kind::Directory,
                2 => Kind::Regular,
                _ => Kind::Other,
            };
            if is_name(name) {
                return Some(Entry { inode, kind, name });
            }
        }
    }
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"." | b"..") && !name.contains(&b'/') && !name.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(count: u32, block: u32, names: &[&[u8]]) -> Vec<u8> {
        let mut bytes = [count, block, 1].map(u32::to_le_bytes).concat();
        for (at, name) in names.iter().enumerate() {
            let head = [at as u16 * 32, 0, 1 + at as u16, name.len() as u16 - 1];
            bytes.extend(head.map(u16::to_le_bytes).concat());
            bytes.extend(*name);
        }
        bytes
    }

    fn names(listing: &[u8]) -> Vec<&[u8]> {
        entries(listing).map(|entry| entry.name).collect()
    }

    #[test]
    fn groups_say_where_their_inodes_are() {
        let listing = [group(1, 7, &[b"a", b"b"]), group(0, 9, &[b"c"])].concat();
        let expected = [
            Entry { inode: 7 << 16, kind: Kind::Directory, name: b"a" },
            Entry { inode: 7 << 16 | 32, kind: Kind::Regular, name: b"b" },
            Entry { inode: 9 << 16, kind: Kind::Directory, name: b"c" },
        ];
        assert_eq!(entries(&listing).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn names_that_name_nothing_here_are_left_out() {
        let listing = group(4, 0, &[b".", b"..", b"a/b", b"a\0b", b"..."]);
        assert_eq!(names(&listing), [b"..."]);
    }

    #[test]
    fn an_entry_that_does_not_hold_is_the_last() {
        let good = group(0, 0, &[b"good"]);
        for bad in [group(256, 0, &[b"evil"]), group(u32::MAX, 0, &[b"evil"]), vec![0; 11]] {
            assert_eq!(names(&[good.clone(), bad].concat()), [b"good"]);
        }
        let cut = group(1, 0, &[b"good", b"cut off"]);
        assert_eq!(names(&cut[..cut.len() - 1]), [b"good"]);
        assert_eq!(names(&cut[..cut.len() - 8]), [b"good"]);
        assert!(names(&[]).is_empty());
    }
}
