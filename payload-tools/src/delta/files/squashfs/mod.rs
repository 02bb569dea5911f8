//! Where a SquashFS 4.0 file system compressed with zstd has its blocks, and what
//! of them is regular files.
//!
//! Sections are those of "The SquashFS 4.0 Binary Format" (squashfs-tools-ng,
//! doc/format.adoc); the kernel's Documentation/filesystems/squashfs.rst says it in
//! short. Nothing read is trusted: what does not hold makes fewer runs and files.

mod directory;
mod fragments;
mod inode;
mod metadata;
mod runs;
mod source;
mod superblock;
mod tables;
mod walk;

use super::flaw::{Flaw, passable};
use super::layout::Layout;
use crate::ReadAt;

use fragments::fragments;
use runs::Runs;
use source::Source;
use superblock::Superblock;
use walk::Walk;

/// Where the blocks lie, and the files in them, in no order; as many as `names_max`
/// bytes for names and blocks allow. Without another compressor than zstd: an image
/// of one is said to be damaged.
pub(super) fn layout(image: &dyn ReadAt, size: u64, names_max: usize) -> Result<Layout, Flaw> {
    let superblock = Superblock::read(&Source { image, size })?;
    // Behind it is only padding.
    let source = Source { image, size: superblock.bytes_used };
    let mut runs = Runs::new(superblock.data..superblock.bytes_used);
    let mut budget = Budget { left: names_max };
    let tables = tables::read(&source, &superblock, &mut runs)?;
    let fragments = fragments(&source, &superblock, &tables.fragments, &mut runs, &mut budget)?;
    let walk = Walk::new(&superblock, &tables, &fragments, &mut runs, budget);
    let mut files = walk.files()?;
    let runs = runs.into_order(&mut files);
    Ok(Layout { runs, files, records: Vec::new() })
}

/// Memory for what an image says it has. A few bytes of metadata may decode to
/// hundreds of times as many, each of which stands for a block.
struct Budget {
    left: usize,
}

impl Budget {
    fn take(&mut self, bytes: usize) -> Result<(), Flaw> {
        self.left = self.left.checked_sub(bytes).ok_or(Flaw::Damaged)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
