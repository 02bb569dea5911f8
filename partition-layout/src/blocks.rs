//! What the reader needs of a disk: blocks by number.

/// A disk that can be read block by block. The selector implements it over UEFI's block I/O;
/// with `std` every `BlockDevice` can be read through it.
pub trait ReadBlocks {
    /// The device's own error.
    type Error: core::error::Error + Send + Sync + 'static;

    /// Bytes per logical block.
    fn block_size(&self) -> u32;

    /// Logical blocks on the disk.
    fn block_count(&self) -> u64;

    /// Fills `buf`, whose length is a multiple of the block size, from block `lba` on.
    ///
    /// # Errors
    /// Whatever the device says; the reader then treats that table copy as invalid.
    fn read(&self, lba: u64, buf: &mut [u8]) -> Result<(), Self::Error>;
}

/// Block size and number of blocks of a disk that can hold a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    block_size: u32,
    block_count: u64,
}

/// A disk that cannot hold a slot table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Neither 512 nor 4096 bytes.
    #[error("logical blocks of {0} bytes are not supported: 512 and 4096 are")]
    BlockSize(u32),
    /// Too small, or too large to count bytes in 64 bits.
    #[error("a disk of {0} logical blocks cannot hold a partition table")]
    BlockCount(u64),
}

/// Protective MBR, two headers, two arrays of one block, one usable block.
const BLOCKS_MIN: u64 = 6;

impl Geometry {
    /// Checks the numbers: byte offsets within the disk then fit 64 bits.
    ///
    /// # Errors
    /// When no table fits a disk of this shape.
    pub fn new(block_size: u32, block_count: u64) -> Result<Self, GeometryError> {
        if !matches!(block_size, 512 | 4096) {
            return Err(GeometryError::BlockSize(block_size));
        }
        let bytes = block_count.checked_mul(u64::from(block_size));
        if block_count < BLOCKS_MIN || bytes.is_none_or(|bytes| i64::try_from(bytes).is_err()) {
            return Err(GeometryError::BlockCount(block_count));
        }
        Ok(Self { block_size, block_count })
    }

    /// Bytes per logical block: 512 or 4096.
    pub const fn block_size(self) -> u32 {
        self.block_size
    }

    /// Logical blocks on the disk.
    pub const fn block_count(self) -> u64 {
        self.block_count
    }

    /// The last block, where the backup header belongs.
    pub const fn last_lba(self) -> u64 {
        self.block_count - 1
    }

    /// Blocks that `bytes` take, rounded up.
    pub(crate) const fn blocks_for(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.block_size as u64)
    }
}
