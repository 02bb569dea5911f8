use std::ops::Range;

use crate::format::{BLOCK, GROUP, GROUP_BLOCKS, IMAGE_SIZE_MAX};

/// The sizes of the tree over an image, all of which follow from the image's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    size: u64,
    /// Hash blocks per level, the leaves first; empty for an image of one block.
    hash_blocks: Vec<u64>,
}

/// A size that no image has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an image of {size} bytes has no tree: a multiple of 4096 from 4096 to {IMAGE_SIZE_MAX} does"
)]
pub struct ShapeError {
    /// Bytes of the image.
    pub size: u64,
}

impl Shape {
    /// The shape of the tree over an image of `size` bytes.
    pub fn of(size: u64) -> Result<Self, ShapeError> {
        if size == 0 || size > IMAGE_SIZE_MAX || !size.is_multiple_of(BLOCK as u64) {
            return Err(ShapeError { size });
        }
        let mut hash_blocks = Vec::new();
        let mut digests = size / BLOCK as u64;
        while digests > 1 {
            digests = digests.div_ceil(GROUP_BLOCKS as u64);
            hash_blocks.push(digests);
        }
        Ok(Self { size, hash_blocks })
    }

    /// Bytes of the image.
    pub fn image_size(&self) -> u64 {
        self.size
    }

    /// Data blocks of the image.
    pub fn blocks(&self) -> u64 {
        self.size / BLOCK as u64
    }

    /// Block groups of the image; the last may be short.
    pub fn groups(&self) -> u64 {
        self.size.div_ceil(GROUP as u64)
    }

    /// The bytes of the image in group `index`, or `None` past the last.
    pub fn group(&self, index: u64) -> Option<Range<u64>> {
        let start = index.checked_mul(GROUP as u64).filter(|start| *start < self.size)?;
        Some(start..(start + GROUP as u64).min(self.size))
    }

    /// Bytes of the leaves: one hash block per group, none for an image of one block.
    pub fn leaves_size(&self) -> u64 {
        self.hash_blocks.first().map_or(0, |blocks| blocks * BLOCK as u64)
    }

    /// Bytes of the levels above the leaves.
    pub fn levels_size(&self) -> u64 {
        self.upper().iter().sum::<u64>() * BLOCK as u64
    }

    /// Hash blocks of the levels above the leaves, the lowest first.
    pub(super) fn upper(&self) -> &[u64] {
        self.hash_blocks.get(1..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_follow_from_the_image() {
        const MIB: u64 = 1 << 20;
        // image size, groups, leaves, levels, in bytes
        let table = [
            (4096, 1, 0, 0),
            (8192, 1, 4096, 0),
            (GROUP as u64, 1, 4096, 0),
            (GROUP as u64 + 4096, 2, 8192, 4096),
            (64 * MIB, 128, 128 * 4096, 4096),
            (64 * MIB + 4096, 129, 129 * 4096, 3 * 4096),
            (1024 * MIB, 2048, 8 * MIB, 17 * 4096),
            (IMAGE_SIZE_MAX, 131_072, 512 * MIB, (1024 + 8 + 1) * 4096),
        ];
        for (size, groups, leaves, levels) in table {
            let shape = Shape::of(size).unwrap();
            assert_eq!(shape.groups(), groups, "{size}");
            assert_eq!(shape.leaves_size(), leaves, "{size}");
            assert_eq!(shape.levels_size(), levels, "{size}");
        }
    }

    #[test]
    fn sizes_that_no_image_has() {
        for size in [0, 1, 4095, 4097, IMAGE_SIZE_MAX + 4096, u64::MAX, u64::MAX - 4095] {
            assert_eq!(Shape::of(size), Err(ShapeError { size }));
        }
    }

    proptest! {
        #[test]
        fn groups_cover_the_image_once(blocks in 1u64..2000) {
            let shape = Shape::of(blocks * 4096).unwrap();
            let mut end = 0;
            for index in 0..shape.groups() {
                let group = shape.group(index).unwrap();
                prop_assert_eq!(group.start, end);
                prop_assert!(group.end > group.start);
                end = group.end;
            }
            prop_assert_eq!(end, blocks * 4096);
            prop_assert_eq!(shape.group(shape.groups()), None);
            prop_assert_eq!(shape.group(u64::MAX), None);
        }
    }
}
