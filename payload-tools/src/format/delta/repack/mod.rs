//! Segments of file systems that compress blocks: the blocks of the old image are unpacked, what they
//! hold is patched, and packed again as it was.
//!
//! ```text
//! body:      length of the directory | directory | sum of the sources | length of the streams | frame
//! directory: n, n * codec | n, n * part
//! part:      bytes of its content | n, n * item
//! item:      0 | signed skip | bytes
//!            codec | signed skip | n, n * (blocks | 2 * stored bytes + stored as they are) | skip | bytes
//! streams:   bytes of the first block before the segment | n | n * 5 lengths
//!            | adjustments | controls | differences | packings | new bytes
//! packing:   to the content's end: skip | codec, or 0 | bytes | a fix-up for each block, if it is packed
//! ```

mod directory;
mod maker;
#[cfg(test)]
pub(crate) mod sample;
mod streams;

pub(super) use directory::places;
pub use directory::{
    BlockGroup, CodecTable, Directory, DirectoryError, Item, PartDirectory, PartPlace,
};
pub use maker::RepackError;
pub(super) use maker::Repacker;
pub use streams::{PackedPart, Packing, encode_streams};

use super::SOURCE_MAX;
use super::codec::BLOCK_MAX;

/// Most bytes of content that a part makes.
pub const PART_MAX: usize = 4 << 20;
/// Most bytes of content that a part is made of.
pub const PART_SOURCE_MAX: usize = 6 << 20;
/// Most parts of a segment.
const PARTS_MAX: u64 = 256;
/// Most ranges of the old image that a segment names.
const RANGES_MAX: usize = 1 << 13;
/// Most bytes of the old image that are read for a segment, by whole blocks.
const STORED_MAX: u64 = 64 << 20;
/// Most codecs of a segment.
const CODECS_MAX: u64 = 8;
/// Most bytes of what is stored that a part is made of, with its directory before them.
pub const PART_INPUT_MAX: usize = SOURCE_MAX;
