use sha2::{Digest as _, Sha256};

use super::DIGEST;
use crate::format::{BLOCK, Hash, Salt};

/// A hash block: up to 128 digests, padded with zeroes.
pub type HashBlock = [u8; BLOCK];

/// Hashes blocks with a salt. The salt is absorbed once and the state copied,
/// so it costs nothing per block; one hasher serves any number of threads.
#[derive(Clone, Debug)]
pub struct LeafHasher {
    salted: Sha256,
}

impl LeafHasher {
    /// A hasher for trees with this salt.
    pub fn new(salt: &Salt) -> Self {
        Self { salted: Sha256::new_with_prefix(salt.as_bytes()) }
    }

    /// The digest of a data or hash block.
    pub fn digest(&self, block: &[u8]) -> Hash {
        let digest = self.salted.clone().chain_update(block).finalize();
        Hash::from_bytes(digest.into())
    }

    /// The leaf block of a group: the digests of its blocks, at most 128.
    pub fn leaves(&self, group: &[u8]) -> HashBlock {
        let mut leaves = [0; BLOCK];
        for (digest, block) in leaves.chunks_exact_mut(DIGEST).zip(group.chunks(BLOCK)) {
            digest.copy_from_slice(self.digest(block).as_bytes());
        }
        leaves
    }
}
