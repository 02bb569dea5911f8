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
use super::names::Names;
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
    let mut names = Names::new(superblock.root, names_max);
    let tables = tables::read(&source, &superblock, &mut runs)?;
    let fragments = fragments(&source, &superblock, &tables.fragments, &mut runs, &mut names)?;
    let walk = Walk::new(&superblock, &tables, &fragments, &mut runs, names);
    let mut files = walk.files()?;
    let runs = runs.into_order(&mut files);
    Ok(Layout { runs, files, records: Vec::new() })
}

#[cfg(test)]
mod tests;
