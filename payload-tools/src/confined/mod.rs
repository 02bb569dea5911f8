//! Decoding in a confined child.
//!
//! No payload byte is trusted before its result was checked against the tree,
//! and zstd is a large C program: so it runs in a process that has two shared
//! buffers and a socket and nothing else. No capability, no file, no system
//! call besides reading and writing that socket, no way to get memory. What it
//! hands back is a claim; [`Decoder::make`] copies it out of the shared
//! buffer before anyone looks, so that the child cannot change it afterwards.
//!
//! The child is this same program started again, which is why every program
//! that decodes so calls [`enter_if_asked`] first thing in `main`.

mod child;
#[cfg(feature = "testing")]
pub mod hostile;
mod jail;
mod supervisor;
#[cfg(test)]
mod tests;
mod wire;

pub use crate::jail::JailError;
pub use child::enter_if_asked;
pub use supervisor::{DecodeError, Decoder};
pub use wire::{Recipe, Refusal};

use crate::format::SEGMENT;
use crate::format::delta::{SOURCE_MAX, STREAMS_MAX};
use crate::format::seekable::FRAME_LEN_MAX;

/// Bytes of the output buffer: one segment, or the payload of a patch to make one.
const OUTPUT_MAX: usize = SEGMENT;
/// Bytes of the work buffer: the longest frame of a segment, or the streams of a patch. The payload of
/// a patch is where the segment comes to be, and its streams where a frame would be, because of each
/// only one is needed at a time.
const WORK_MAX: usize = if FRAME_LEN_MAX > STREAMS_MAX { FRAME_LEN_MAX } else { STREAMS_MAX };
/// Where a segment's source begins in the shared input, and where that ends. Only
/// what is used of it takes memory.
const SOURCE_AT: usize = WORK_MAX.next_multiple_of(4096);
const SHARED_INPUT: usize = SOURCE_AT + SOURCE_MAX;
