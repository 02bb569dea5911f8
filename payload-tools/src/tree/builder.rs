use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::levels::digest_of_group;
use super::{HashBlock, LeafHasher, Shape, ShapeError};
use crate::format::{BLOCK, GROUP, Hash, Image, Role, Salt};
use crate::{ReadAt, workers};

/// The whole tree over an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The commitment to the image.
    pub root: Hash,
    /// The levels above the leaves, root first: what a device fetches.
    pub levels: Vec<u8>,
    /// One hash block per group, none for an image of one block.
    pub leaves: Vec<u8>,
}

/// A tree that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The image has no tree.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The image could not be read.
    #[error("cannot read the image at byte {offset}")]
    Read {
        /// Offset in the image.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Groups were not given to the assembler.
    #[error("{missing} block groups of the image were not hashed")]
    Missing {
        /// How many.
        missing: u64,
    },
}

/// Puts a tree together from groups that arrive in any order.
///
/// [`LeafHasher::leaves`] is the work, for as many threads as there are; adding
/// its result here costs one hash. Holds 1/128 of the image.
#[derive(Debug)]
pub struct TreeAssembler {
    shape: Shape,
    hasher: LeafHasher,
    leaves: Vec<u8>,
    digests: Vec<Option<Hash>>,
}

impl TreeAssembler {
    /// An assembler for an image of `size` bytes.
    pub fn new(salt: &Salt, size: u64) -> Result<Self, ShapeError> {
        let shape = Shape::of(size)?;
        Ok(Self {
            leaves: vec![0; shape.leaves_size() as usize],
            digests: vec![None; shape.groups() as usize],
            hasher: LeafHasher::new(salt),
            shape,
        })
    }

    /// Adds the leaf block of group `index`; one past the last is ignored.
    pub fn add(&mut self, index: u64, leaves: &HashBlock) {
        let index = index as usize;
        let Some(digest) = self.digests.get_mut(index) else {
            return;
        };
        *digest = Some(digest_of_group(&self.hasher, &self.shape, leaves));
        if let Some(block) = self.leaves.chunks_exact_mut(BLOCK).nth(index) {
            block.copy_from_slice(leaves);
        }
    }

    /// The tree, once every group was added.
    pub fn finish(self) -> Result<Tree, BuildError> {
        let digests: Vec<Hash> = self.digests.iter().copied().flatten().collect();
        let missing = self.shape.groups() - digests.len() as u64;
        if missing != 0 {
            return Err(BuildError::Missing { missing });
        }
        let (root, levels) = hash_upwards(&self.hasher, digests);
        Ok(Tree { root, levels, leaves: self.leaves })
    }
}

/// The root and the levels, root first, above the digests of the groups.
fn hash_upwards(hasher: &LeafHasher, mut digests: Vec<Hash>) -> (Hash, Vec<u8>) {
    let mut levels = Vec::new();
    while digests.len() > 1 {
        let mut level: Vec<u8> = digests.iter().flat_map(|digest| *digest.as_bytes()).collect();
        level.resize(level.len().next_multiple_of(BLOCK), 0);
        digests = level.chunks_exact(BLOCK).map(|block| hasher.digest(block)).collect();
        level.extend(levels);
        levels = level;
    }
    (digests[0], levels)
}

/// Builds a tree over anything that can be read at an offset, on several threads
/// with 512 KiB each.
#[derive(Debug, Clone)]
pub struct TreeBuilder {
    salt: Salt,
    threads: NonZero<usize>,
}

impl TreeBuilder {
    /// A builder that uses every core.
    pub fn new(salt: Salt) -> Self {
        Self { salt, threads: workers::every_core() }
    }

    /// Uses this many threads.
    pub fn threads(self, threads: NonZero<usize>) -> Self {
        Self { threads, ..self }
    }

    /// Builds the tree over the first `size` bytes of `source`, and tells
    /// `progress` of each group's bytes as they are done.
    pub fn build(
        &self,
        source: &dyn ReadAt,
        size: u64,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Tree, BuildError> {
        let assembler = Mutex::new(TreeAssembler::new(&self.salt, size)?);
        let shape = Shape::of(size)?;
        let next = AtomicU64::new(0);
        let work = || -> Result<(), BuildError> {
            let hasher = LeafHasher::new(&self.salt);
            let mut group = vec![0; GROUP];
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(range) = shape.group(index) else {
                    return Ok(());
                };
                let data = &mut group[..(range.end - range.start) as usize];
                let offset = range.start;
                let read = source.fill_at(data, offset);
                read.map_err(|source| BuildError::Read { offset, source })?;
                let leaves = hasher.leaves(data);
                assembler.lock().unwrap_or_else(PoisonError::into_inner).add(index, &leaves);
                progress(data.len() as u64);
            }
        };
        workers::run(self.threads, work)?;
        assembler.into_inner().unwrap_or_else(PoisonError::into_inner).finish()
    }

    /// The manifest's entry for an image with this builder's salt.
    pub fn image(&self, role: Role, size: u64, tree: &Tree) -> Image {
        Image { role, size, salt: self.salt.clone(), root: tree.root }
    }
}
