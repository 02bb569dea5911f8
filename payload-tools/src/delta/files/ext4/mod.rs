//! The regular files of an ext4 file system with blocks of 4 KiB.
//!
//! Sections are those of "ext4 Data Structures and Algorithms" in the kernel's
//! documentation (Documentation/filesystems/ext4). Nothing read is trusted: what
//! does not hold makes fewer files.

mod directory;
mod extents;
mod volume;

use std::collections::BTreeMap;

use super::flaw::passable;
use super::{Flaw, ImageFile, Piece};
use crate::ReadAt;
use crate::format::BLOCK;

use directory::entries;
use extents::extents;
use volume::{Inode, Kind, Volume};

/// "Special inodes": the root directory.
const ROOT: u32 = 2;
/// Longest path that a system opens.
const PATH_MAX: usize = 4096;
/// What a name takes beside its path.
const NAME_COST: usize = 128;
/// File blocks are counted in 32 bits.
const FILE_BLOCKS_MAX: u64 = 1 << 32;

/// The regular files, with those that have holes, in no order; as many as names
/// of `names_max` bytes allow.
pub(super) fn files(
    image: &dyn ReadAt,
    size: u64,
    names_max: usize,
) -> Result<Vec<ImageFile>, Flaw> {
    let mut walk = Walk {
        volume: Volume::open(image, size)?,
        folders: vec![(ROOT, Vec::new())],
        seen: BTreeMap::from([(ROOT, None)]),
        files: Vec::new(),
        names_left: names_max,
    };
    while let Some((number, path)) = walk.folders.pop() {
        passable(walk.folder(number, &path))?;
    }
    Ok(walk.files)
}

/// A walk through all directories.
struct Walk<'a> {
    volume: Volume<'a>,
    /// Still to be read.
    folders: Vec<(u32, Vec<u8>)>,
    /// Inodes that were looked at, each once, and the file of those that are one.
    seen: BTreeMap<u32, Option<usize>>,
    files: Vec<ImageFile>,
    names_left: usize,
}

impl Walk<'_> {
    fn folder(&mut self, number: u32, path: &[u8]) -> Result<(), Flaw> {
        let inode = self.volume.inode(number)?;
        // An encrypted directory's names are, too.
        if inode.kind != Kind::Directory || inode.is_opaque() {
            return Err(Flaw::Damaged);
        }
        for piece in pieces(&mut self.volume, &inode)? {
            for block in piece.image.step_by(BLOCK) {
                let block = self.volume.block(block / BLOCK as u64)?;
                for (number, name) in entries(&block) {
                    self.entry(number, path, name)?;
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, number: u32, folder: &[u8], name: &[u8]) -> Result<(), Flaw> {
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
            Some(inode) if inode.kind == Kind::Regular && !inode.is_opaque() => {
                if let Some(pieces) = passable(pieces(&mut self.volume, &inode))? {
                    self.seen.insert(number, Some(self.files.len()));
                    self.files.push(ImageFile { path, len: inode.len, pieces });
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where the blocks of an inode lie in the image; those beyond its length, and
/// those that were never written, are none of its content.
fn pieces(volume: &mut Volume<'_>, inode: &Inode) -> Result<Vec<Piece>, Flaw> {
    let blocks = inode.len.div_ceil(BLOCK as u64);
    let mut pieces: Vec<Piece> = Vec::new();
    if blocks == 0 {
        return Ok(pieces);
    }
    if blocks > FILE_BLOCKS_MAX {
        return Err(Flaw::Damaged);
    }
    for extent in extents(volume, inode)? {
        let kept = blocks.saturating_sub(extent.first).min(extent.blocks);
        if kept == 0 || !extent.written {
            continue;
        }
        // Of 48 bits and of 16 bits.
        let end = extent.start + kept;
        if end > volume.blocks() {
            return Err(Flaw::Damaged);
        }
        let (at, image) =
            (extent.first * BLOCK as u64, extent.start * BLOCK as u64..end * BLOCK as u64);
        match pieces.last_mut() {
            Some(last) if last.image.end == image.start && last.end() == at => {
                last.image.end = image.end;
            }
            _ => pieces.push(Piece { at, image }),
        }
    }
    Ok(pieces)
}
