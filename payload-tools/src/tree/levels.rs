use super::{DIGEST, HashBlock, LeafHasher, Shape, ShapeError};
use crate::format::{BLOCK, GROUP, Hash, Image};

static ZEROES: [u8; GROUP] = [0; GROUP];

/// The levels above the leaves, every block of which chains to the signed root.
///
/// Holds 64 KiB per GiB of image. Checking is `&self`: share it between threads.
#[derive(Clone, Debug)]
pub struct Levels {
    shape: Shape,
    root: Hash,
    hasher: LeafHasher,
    bytes: Vec<u8>,
    /// Where the lowest level, one digest per group, begins in `bytes`.
    lowest: usize,
    zero_full: ZeroGroup,
    zero_last: ZeroGroup,
}

/// What a group of zeroes hashes to.
#[derive(Clone, Debug)]
struct ZeroGroup {
    leaves: HashBlock,
    digest: Hash,
}

/// Levels that do not belong to the image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The image has no tree.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Not as many bytes as the image's size asks for.
    #[error("tree levels have {found} bytes, the image's have {wanted}")]
    Length {
        /// Bytes given.
        found: usize,
        /// Bytes of the levels of an image of this size.
        wanted: u64,
    },
    /// A hash block does not have the digest that its parent has for it.
    #[error("tree levels do not chain to the root {root}: hash block {block} differs")]
    Block {
        /// The signed root.
        root: Hash,
        /// Index of the hash block, the root's being 0.
        block: usize,
    },
}

/// A group whose bytes are not those of the image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupMismatch {
    /// The image has no such group.
    #[error("the image has no block group {index}, it has {groups}")]
    Index {
        /// The group asked for.
        index: u64,
        /// Groups of the image.
        groups: u64,
    },
    /// Not as many bytes as the group has.
    #[error("block group {index} has {wanted} bytes, not {found}")]
    Length {
        /// The group.
        index: u64,
        /// Bytes given.
        found: usize,
        /// Bytes of the group.
        wanted: u64,
    },
    /// The bytes are others.
    #[error("block group {index} hashes to {found}, the signed tree has {wanted}")]
    Digest {
        /// The group.
        index: u64,
        /// What the bytes hash to.
        found: Hash,
        /// What the tree has.
        wanted: Hash,
    },
}

/// Bytes that were found to be a block group of an image. Only [`Levels`] makes
/// it, so a writer that takes it cannot be given anything unchecked.
#[derive(Clone, Debug)]
pub struct CheckedGroup<'a> {
    root: Hash,
    index: u64,
    bytes: &'a [u8],
    leaves: HashBlock,
}

impl CheckedGroup<'_> {
    /// Root of the image that the group belongs to.
    pub fn image_root(&self) -> Hash {
        self.root
    }

    /// Index of the group in the image.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Offset in the image, in bytes.
    pub fn offset(&self) -> u64 {
        self.index * GROUP as u64
    }

    /// The group's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// The group's leaf block, for VERITY; of no use for an image of one block.
    pub fn leaves(&self) -> &HashBlock {
        &self.leaves
    }
}

impl Levels {
    /// Checks that `bytes` are the levels of the tree with the image's root.
    pub fn verify(image: &Image, bytes: Vec<u8>) -> Result<Self, TreeError> {
        let shape = Shape::of(image.size)?;
        let wanted = shape.levels_size();
        if bytes.len() as u64 != wanted {
            return Err(TreeError::Length { found: bytes.len(), wanted });
        }
        let hasher = LeafHasher::new(&image.salt);
        let lowest = check_chain(&hasher, &shape, image.root, &bytes)?;
        let last_len = (image.size - 1) as usize % GROUP + 1;
        Ok(Self {
            zero_full: ZeroGroup::of(&hasher, &shape, GROUP),
            zero_last: ZeroGroup::of(&hasher, &shape, last_len),
            root: image.root,
            shape,
            hasher,
            bytes,
            lowest,
        })
    }

    /// The sizes of the image and its tree.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The signed root that the levels chain to.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The levels as fetched, root first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Groups of the image.
    pub fn group_count(&self) -> u64 {
        self.shape.groups()
    }

    /// Checks that `data` is group `index` of the image.
    pub fn check_group<'a>(
        &self,
        index: u64,
        data: &'a [u8],
    ) -> Result<CheckedGroup<'a>, GroupMismatch> {
        let groups = self.group_count();
        let no_group = GroupMismatch::Index { index, groups };
        let (range, wanted) = self.expected(index).ok_or(no_group)?;
        let length = range.end - range.start;
        if data.len() as u64 != length {
            return Err(GroupMismatch::Length { index, found: data.len(), wanted: length });
        }
        let leaves = self.hasher.leaves(data);
        let found = digest_of_group(&self.hasher, &self.shape, &leaves);
        if found != wanted {
            return Err(GroupMismatch::Digest { index, found, wanted });
        }
        Ok(CheckedGroup { root: self.root, index, bytes: data, leaves })
    }

    /// Group `index` when the tree says that it is all zeroes: known without
    /// fetching, decoding or hashing anything.
    pub fn zero_group(&self, index: u64) -> Option<CheckedGroup<'static>> {
        let (range, wanted) = self.expected(index)?;
        let last = index + 1 == self.group_count();
        let zero = if last { &self.zero_last } else { &self.zero_full };
        let bytes = &ZEROES[..(range.end - range.start) as usize];
        let leaves = zero.leaves;
        (zero.digest == wanted).then_some(CheckedGroup { root: self.root, index, bytes, leaves })
    }

    /// The bytes and the digest of a group.
    fn expected(&self, index: u64) -> Option<(std::ops::Range<u64>, Hash)> {
        let range = self.shape.group(index)?;
        if self.group_count() == 1 {
            return Some((range, self.root));
        }
        let at = self.lowest + index as usize * DIGEST;
        Some((range, digest_at(&self.bytes, at)?))
    }
}

impl ZeroGroup {
    fn of(hasher: &LeafHasher, shape: &Shape, len: usize) -> Self {
        let block = hasher.digest(&ZEROES[..BLOCK]);
        let mut leaves = [0; BLOCK];
        for digest in leaves.chunks_exact_mut(DIGEST).take(len / BLOCK) {
            digest.copy_from_slice(block.as_bytes());
        }
        let digest = digest_of_group(hasher, shape, &leaves);
        Self { leaves, digest }
    }
}

/// What the tree has for a group with these leaves: in an image of one block
/// there is no hash block, and the block's own digest is the root.
pub(super) fn digest_of_group(hasher: &LeafHasher, shape: &Shape, leaves: &HashBlock) -> Hash {
    match digest_at(leaves, 0) {
        Some(only) if shape.blocks() == 1 => only,
        _ => hasher.digest(leaves),
    }
}

fn digest_at(bytes: &[u8], at: usize) -> Option<Hash> {
    let digest = bytes.get(at..)?.first_chunk::<DIGEST>()?;
    Some(Hash::from_bytes(*digest))
}

/// Checks every block against its parent's digest, from the root down, and
/// returns where the lowest level begins.
fn check_chain(
    hasher: &LeafHasher,
    shape: &Shape,
    root: Hash,
    bytes: &[u8],
) -> Result<usize, TreeError> {
    let mut parent: Vec<u8> = root.as_bytes().to_vec();
    let mut start = 0;
    let mut lowest = 0;
    for &blocks in shape.upper().iter().rev() {
        let level = &bytes[start..start + blocks as usize * BLOCK];
        for (index, block) in level.chunks_exact(BLOCK).enumerate() {
            if digest_at(&parent, index * DIGEST) != Some(hasher.digest(block)) {
                return Err(TreeError::Block { root, block: start / BLOCK + index });
            }
        }
        parent = level.to_vec();
        lowest = start;
        start += level.len();
    }
    Ok(lowest)
}
