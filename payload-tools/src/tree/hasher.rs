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
    #[cfg(target_arch = "x86_64")]
    two_lanes: Option<super::two_lanes::TwoLanes>,
}

impl LeafHasher {
    /// A hasher for trees with this salt.
    pub fn new(salt: &Salt) -> Self {
        Self {
            salted: Sha256::new_with_prefix(salt.as_bytes()),
            #[cfg(target_arch = "x86_64")]
            two_lanes: super::two_lanes::TwoLanes::new(salt.as_bytes()),
        }
    }

    /// The digest of a data or hash block.
    pub fn digest(&self, block: &[u8]) -> Hash {
        let digest = self.salted.clone().chain_update(block).finalize();
        Hash::from_bytes(digest.into())
    }

    /// The leaf block of a group: the digests of its blocks, at most 128.
    pub fn leaves(&self, group: &[u8]) -> HashBlock {
        let mut leaves = [0; BLOCK];
        let pairs = leaves.chunks_exact_mut(2 * DIGEST).zip(group.chunks(2 * BLOCK));
        for (digests, blocks) in pairs {
            match self.digest_two(blocks) {
                Some(both) => digests.copy_from_slice(both.as_flattened()),
                None => {
                    for (digest, block) in digests.chunks_mut(DIGEST).zip(blocks.chunks(BLOCK)) {
                        digest.copy_from_slice(self.digest(block).as_bytes());
                    }
                }
            }
        }
        leaves
    }

    /// The digests of two whole blocks, where the processor does both at once.
    #[cfg(target_arch = "x86_64")]
    fn digest_two(&self, blocks: &[u8]) -> Option<[[u8; DIGEST]; 2]> {
        let lanes = self.two_lanes.as_ref()?;
        match blocks.as_chunks() {
            ([a, b], []) => Some(lanes.digests([a, b])),
            _ => None,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn digest_two(&self, _blocks: &[u8]) -> Option<[[u8; DIGEST]; 2]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::GROUP;

    /// One that uses nothing which only some processors have.
    fn portable(salt: &Salt) -> LeafHasher {
        LeafHasher {
            #[cfg(target_arch = "x86_64")]
            two_lanes: None,
            ..LeafHasher::new(salt)
        }
    }

    /// Where the image ends, a group may have an odd number of blocks.
    #[test]
    fn leaves_are_the_digests_of_the_blocks_on_every_processor() {
        let group: Vec<u8> = (0..GROUP).map(|at| (at / 7) as u8).collect();
        for (salt, blocks) in [(0, 128), (1, 1), (32, 2), (55, 3), (56, 127), (64, 4), (256, 5)] {
            let salt = Salt::new(vec![0x5A; salt]).unwrap();
            let group = &group[..blocks * BLOCK];
            let mut expected = [0; BLOCK];
            for (digest, block) in expected.chunks_mut(DIGEST).zip(group.chunks(BLOCK)) {
                digest.copy_from_slice(&Sha256::digest([salt.as_bytes(), block].concat()));
            }
            for hasher in [portable(&salt), LeafHasher::new(&salt)] {
                assert_eq!(hasher.leaves(group), expected, "{salt:?}, {blocks} blocks");
            }
        }
    }
}
