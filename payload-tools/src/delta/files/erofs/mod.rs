//! The files and the compressed blocks of an EROFS file system with blocks of 4 KiB.
//!
//! Sections are those of "EROFS - Enhanced Read-Only File System" in the kernel's documentation
//! (Documentation/filesystems/erofs.rst), structures those of fs/erofs/erofs_fs.h. Nothing read is
//! trusted: what does not hold makes fewer files and blocks.

mod clusters;
mod directory;
mod flat;
mod index;
mod runs;
mod volume;

use std::collections::BTreeMap;
use std::ops::Range;

use super::flaw::{Flaw, passable};
use super::layout::{Block, LaidFile, LaidPiece, Layout, Lie, Run};
use crate::ReadAt;
use crate::format::BLOCK;
use crate::format::delta::codec::Codec;

use clusters::clusters;
use directory::entries;
use runs::Runs;
use volume::{Data, Inode, Kind, Volume};

/// Longest path that a system opens.
const PATH_MAX: usize = 4096;
/// What a name takes beside its path.
const NAME_COST: usize = 128;

/// The regular files with content, in no order, as many as names of `names_max` bytes allow; and
/// the blocks that are compressed with LZ4, those of files that are left out too.
pub(super) fn layout(image: &dyn ReadAt, size: u64, names_max: usize) -> Result<Layout, Flaw> {
    let volume = Volume::open(image, size)?;
    let (root, packed) = (volume.root, volume.packed);
    let mut walk = Walk {
        volume,
        folders: vec![(root, Vec::new())],
        seen: BTreeMap::from([(root, None)]),
        files: Vec::new(),
        records: Vec::new(),
        runs: Runs::default(),
        names_left: names_max,
    };
    while let Some((number, path)) = walk.folders.pop() {
        passable(walk.folder(number, &path))?;
    }
    // No directory has a name for it.
    if let Some(number) = packed.filter(|number| !walk.seen.contains_key(number)) {
        let inode = passable(walk.volume.inode(number))?;
        if let Some(inode) = inode.filter(|inode| inode.kind == Kind::Regular) {
            passable(walk.pieces(b"", &inode))?;
        }
    }
    Ok(walk.runs.finish(walk.files, walk.records))
}

/// A walk through all directories.
struct Walk<'a> {
    volume: Volume<'a>,
    /// Still to be read.
    folders: Vec<(u64, Vec<u8>)>,
    /// Inodes that were looked at, each once, and the file of those that are one.
    seen: BTreeMap<u64, Option<usize>>,
    files: Vec<LaidFile>,
    records: Vec<LaidFile>,
    runs: Runs,
    names_left: usize,
}

impl Walk<'_> {
    fn folder(&mut self, number: u64, path: &[u8]) -> Result<(), Flaw> {
        let inode = self.volume.inode(number)?;
        if inode.kind != Kind::Directory || !matches!(inode.data, Data::Plain | Data::Inline) {
            return Err(Flaw::Damaged);
        }
        let mut block = [0; BLOCK];
        self.record(path, inode.at..inode.end);
        let pieces = flat::pieces(&mut self.volume, &inode)?;
        self.records.push(LaidFile {
            path: [path, b"/"].concat(),
            len: inode.len,
            pieces: pieces.clone(),
        });
        for piece in pieces {
            let Lie::Image(range) = piece.lie else { continue };
            for at in range.clone().step_by(BLOCK) {
                let len = (range.end - at).min(BLOCK as u64);
                self.volume.spend(len)?;
                let block = &mut block[..len as usize];
                self.volume.fill(block, at)?;
                for (number, name) in entries(block) {
                    self.entry(number, path, name)?;
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, number: u64, folder: &[u8], name: &[u8]) -> Result<(), Flaw> {
        let separator: &[u8] = if folder.is_empty() { b"" } else { b"/" };
        let path = [folder, separator, name].concat();
        let left = self.names_left.checked_sub(path.len() + NAME_COST);
        self.names_left = left.ok_or(Flaw::Damaged)?;
        if path.len() > PATH_MAX {
            return Ok(());
        }
        if let Some(seen) = self.seen.get(&number) {
            let file = seen.and_then(|at| self.files.get_mut(at));
            if let Some(file) = file.filter(|file| path < file.path) {
                file.path = path;
            }
            return Ok(());
        }
        let inode = passable(self.volume.inode(number))?;
        self.seen.insert(number, None);
        match inode {
            Some(inode) if inode.kind == Kind::Directory => self.folders.push((number, path)),
            Some(inode) if inode.kind == Kind::Regular && inode.len > 0 => {
                if let Some(pieces) = passable(self.pieces(&path, &inode))?.flatten() {
                    self.seen.insert(number, Some(self.files.len()));
                    self.files.push(LaidFile { path, len: inode.len, pieces });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes where what is said of a path lies.
    fn record(&mut self, path: &[u8], image: Range<u64>) {
        let len = image.end - image.start;
        let pieces = vec![LaidPiece { at: 0, lie: Lie::Image(image) }];
        self.records.push(LaidFile { path: path.to_vec(), len, pieces });
    }

    /// Where the content of an inode lies, if it is known of all of it. Its compressed blocks are
    /// kept in any case.
    fn pieces(&mut self, path: &[u8], inode: &Inode) -> Result<Option<Vec<LaidPiece>>, Flaw> {
        if !matches!(inode.data, Data::Full | Data::Compact) {
            self.record(path, inode.at..inode.end);
            return flat::pieces(&mut self.volume, inode).map(Some);
        }
        let clusters = clusters(&mut self.volume, inode)?;
        self.record(path, inode.at..clusters.end);
        let pieces = self.runs.add(&clusters);
        Ok(clusters.are_whole.then_some(pieces))
    }
}

#[cfg(test)]
mod tests;
