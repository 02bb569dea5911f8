//! The dm-verity tree (format 1, SHA-256, 4 KiB blocks, no superblock), byte for
//! byte what `veritysetup format` makes; docs/formats.md, The tree.
//!
//! A device holds [`Levels`], chained to the signed root, and makes a
//! [`CheckedGroup`] of every block group before it writes it.

mod builder;
mod hasher;
mod levels;
mod shape;
#[cfg(target_arch = "x86_64")]
mod two_lanes;

pub use builder::{BuildError, Tree, TreeAssembler, TreeBuilder};
pub use hasher::{HashBlock, LeafHasher};
pub use levels::{CheckedGroup, GroupMismatch, Levels, TreeError};
pub use shape::{Shape, ShapeError};

/// Bytes of one digest in the tree.
const DIGEST: usize = 32;

#[cfg(test)]
mod tests;
