//! The delta payload: makes an image out of another one (docs/formats.md, The
//! delta payload).
//!
//! ```text
//! "SSDELTA4" | sizes of old and new image | their roots | n segment words | bodies
//!      8               8 + 8                  32 + 32          4 * n
//! ```
//!
//! Nothing in it is trusted: it is bounded here, its sources are compared with
//! what they are said to be, and its result is checked against the signed tree.

pub mod adjust;
mod body;
pub mod codec;
mod decoder;
#[cfg(test)]
mod golden;
mod head;
mod patch;
mod portions;
pub mod repack;
mod varint;

pub use body::{Body, BodyError, Method, SourceHasher, SourceSum};
pub use decoder::{DeltaDecoder, DeltaError, PayloadPlace, Room};
pub use head::{FIXED_LEN, Head, HeadError, Kind, Part, head_len};
pub use patch::{PatchError, Step, encode_patch};
pub use portions::{Portion, portions};
pub use varint::VarintError;

use super::{BLOCK, SEGMENT, seekable};

/// Most bytes of the old image that one segment is made from.
pub const SOURCE_MAX: usize = SEGMENT + SEGMENT / 2;
/// Most bytes of a segment's body, those of a full payload's longest frame.
pub const BODY_LEN_MAX: usize = seekable::FRAME_LEN_MAX;
/// Most source ranges of a segment: each has a block at least.
const RANGES_MAX: usize = SOURCE_MAX / BLOCK;
/// Most bytes that the streams of a patch have together.
pub const STREAMS_MAX: usize = SEGMENT + SEGMENT / 4;
