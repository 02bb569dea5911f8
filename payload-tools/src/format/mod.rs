//! The formats of docs/formats.md as types. Bytes only: nothing here opens a
//! file, and every parser treats its input as hostile.

pub mod delta;
mod facts;
mod hash;
mod manifest;
mod names;
pub mod seekable;
pub mod uki;

pub use facts::{DowngradeRange, ReleaseFacts};
pub use hash::{Hash, HexError, Salt};
pub use manifest::{Image, Manifest, ManifestError};
pub use names::{Channel, Compatible, NameError, Release, Role};

/// Bytes of a block: what one digest of the tree covers, and of a hash block.
pub const BLOCK: usize = 4096;
/// Blocks of a block group: as many as one hash block has digests.
pub const GROUP_BLOCKS: usize = 128;
/// Bytes of a block group, the unit in which a device checks and writes.
pub const GROUP: usize = BLOCK * GROUP_BLOCKS;
/// Bytes of a segment, the unit in which a full payload is compressed.
pub const SEGMENT: usize = 8 * GROUP;
/// Largest image in bytes, 64 GiB. It bounds what a device holds in memory for
/// one image: 4 MiB of levels and 128 KiB of seek table.
pub const IMAGE_SIZE_MAX: u64 = 64 << 30;
/// Largest manifest in bytes.
pub const MANIFEST_SIZE_MAX: usize = 1 << 20;
