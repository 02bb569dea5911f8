//! The paths of a file system's inodes, as a walk through its directories finds them.

use std::collections::BTreeMap;

use super::flaw::Flaw;

/// Longest path that a system opens.
const PATH_MAX: usize = 4096;
/// What a name takes of memory beside its path.
const NAME_COST: usize = 128;

/// A walk through all directories, by the numbers of their inodes.
pub(in crate::delta::files) struct Names<N> {
    /// Still to be read.
    folders: Vec<(N, Vec<u8>)>,
    /// Inodes that were looked at, each once, and the file of those that are one.
    seen: BTreeMap<N, Option<usize>>,
    /// Memory that is left for what an image says it has: a few bytes of metadata may decode to hundreds
    /// of times as many, each of which stands for a name or a block.
    left: usize,
}

/// What an entry of a directory names.
pub(in crate::delta::files) enum Named {
    /// An inode that was not looked at yet.
    New(Vec<u8>),
    /// A file that has another path too.
    Again(usize, Vec<u8>),
    /// Nothing that is of interest.
    Nothing,
}

impl<N: Ord + Copy> Names<N> {
    /// Begins at the root, with so many bytes for names and what else is taken.
    pub fn new(root: N, left: usize) -> Self {
        Self { folders: vec![(root, Vec::new())], seen: BTreeMap::from([(root, None)]), left }
    }

    /// The next directory.
    pub fn next_folder(&mut self) -> Option<(N, Vec<u8>)> {
        self.folders.pop()
    }

    /// A name in a directory.
    pub fn entry(&mut self, number: N, folder: &[u8], name: &[u8]) -> Result<Named, Flaw> {
        let separator: &[u8] = if folder.is_empty() { b"" } else { b"/" };
        let path = [folder, separator, name].concat();
        self.take(path.len() + NAME_COST)?;
        if path.len() > PATH_MAX {
            return Ok(Named::Nothing);
        }
        Ok(match self.seen.get(&number) {
            None => {
                self.seen.insert(number, None);
                Named::New(path)
            }
            Some(Some(file)) => Named::Again(*file, path),
            Some(None) => Named::Nothing,
        })
    }

    /// Notes that a new inode is a directory.
    pub fn is_folder(&mut self, number: N, path: Vec<u8>) {
        self.folders.push((number, path));
    }

    /// Notes that a new inode is the file of this index.
    pub fn is_file(&mut self, number: N, file: usize) {
        self.seen.insert(number, Some(file));
    }

    /// Whether an inode was looked at.
    pub fn has_seen(&self, number: N) -> bool {
        self.seen.contains_key(&number)
    }

    /// Takes memory.
    pub fn take(&mut self, bytes: usize) -> Result<(), Flaw> {
        self.left = self.left.checked_sub(bytes).ok_or(Flaw::Damaged)?;
        Ok(())
    }
}

/// Of several paths the first in byte order is the file's.
pub(in crate::delta::files) fn rename(path: &mut Vec<u8>, other: Vec<u8>) {
    if other < *path {
        *path = other;
    }
}
