//! The regular files of an ext4 file system with blocks of 4 KiB.
//!
//! Sections are those of "ext4 Data Structures and Algorithms" in the kernel's
//! documentation (Documentation/filesystems/ext4). Nothing read is trusted: what
//! does not hold makes fewer files.

mod directory;
mod extents;
mod volume;

use super::flaw::{Flaw, passable};
use super::names::{Named, Names, rename};
use super::{ImageFile, Piece};
use crate::ReadAt;
use crate::format::BLOCK;

use directory::entries;
use extents::extents;
use volume::{Inode, Kind, Volume};

/// "Special inodes": the root directory.
const ROOT: u32 = 2;
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
        names: Names::new(ROOT, names_max),
        files: Vec::new(),
    };
    while let Some((number, path)) = walk.names.next_folder() {
        passable(walk.folder(number, &path))?;
    }
    Ok(walk.files)
}

/// A walk through all directories.
struct Walk<'a> {
    volume: Volume<'a>,
    names: Names<u32>,
    files: Vec<ImageFile>,
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
            Some(inode) if inode.kind == Kind::Regular && !inode.is_opaque() => {
                if let Some(pieces) = passable(pieces(&mut self.volume, &inode))? {
                    self.names.is_file(number, self.files.len());
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
