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

use std::ops::Range;

use super::flaw::{Flaw, passable};
use super::layout::{Block, LaidFile, LaidPiece, Layout, Lie, Run};
use super::names::{Named, Names, rename};
use crate::ReadAt;
use crate::format::BLOCK;
use crate::format::delta::codec::Codec;

use clusters::clusters;
use directory::entries;
use runs::Runs;
use volume::{Data, Inode, Kind, Volume};

/// The regular files with content, in no order, as many as names of `names_max` bytes allow; and
/// the blocks that are compressed with LZ4, those of files that are left out too.
pub(super) fn layout(image: &dyn ReadAt, size: u64, names_max: usize) -> Result<Layout, Flaw> {
    let volume = Volume::open(image, size)?;
    let (root, packed) = (volume.root, volume.packed);
    let mut walk = Walk {
        volume,
        names: Names::new(root, names_max),
        files: Vec::new(),
        records: Vec::new(),
        runs: Runs::default(),
    };
    while let Some((number, path)) = walk.names.next_folder() {
        passable(walk.folder(number, &path))?;
    }
    // No directory has a name for it.
    if let Some(number) = packed.filter(|number| !walk.names.has_seen(*number)) {
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
    names: Names<u64>,
    files: Vec<LaidFile>,
    records: Vec<LaidFile>,
    runs: Runs,
}

impl Walk<'_> {
    fn folder(&mut self, number: u64, path: &[u8]) -> Result<(), Flaw> {
        let inode = self.volume.inode(number)?;
        if inode.kind != Kind::Directory || !matches!(inode.data, Data::Plain | Data::Inline) {
            return Err(Flaw::Damaged);
        }
        let mut block = [0; BLOCK];
        self.record(path, inode.at..inode.end)?;
        self.names.take(path.len())?;
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
        let path = match self.names.entry(number, folder, name)? {
            Named::New(path) => path,
            Named::Again(file, path) => {
                rename(&mut self.files[file].path, path);
                return Ok(());
            }
            Named::Nothing => return Ok(()),
        };
        let inode = passable(self.volume.inode(number))?;
        match inode {
            Some(inode) if inode.kind == Kind::Directory => self.names.is_folder(number, path),
            Some(inode) if inode.kind == Kind::Regular && inode.len > 0 => {
                if let Some(pieces) = passable(self.pieces(&path, &inode))?.flatten() {
                    self.names.is_file(number, self.files.len());
                    self.files.push(LaidFile { path, len: inode.len, pieces });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes where what is said of a path lies.
    fn record(&mut self, path: &[u8], image: Range<u64>) -> Result<(), Flaw> {
        self.names.take(path.len())?;
        let len = image.end - image.start;
        let pieces = vec![LaidPiece { at: 0, lie: Lie::Image(image) }];
        self.records.push(LaidFile { path: path.to_vec(), len, pieces });
        Ok(())
    }

    /// Where the content of an inode lies, if it is known of all of it. Its compressed blocks are
    /// kept in any case.
    fn pieces(&mut self, path: &[u8], inode: &Inode) -> Result<Option<Vec<LaidPiece>>, Flaw> {
        if !matches!(inode.data, Data::Full | Data::Compact) {
            self.record(path, inode.at..inode.end)?;
            return flat::pieces(&mut self.volume, inode).map(Some);
        }
        let clusters = clusters(&mut self.volume, inode)?;
        self.record(path, inode.at..clusters.end)?;
        let pieces = self.runs.add(&clusters);
        Ok(clusters.are_whole.then_some(pieces))
    }
}

#[cfg(test)]
mod tests;
