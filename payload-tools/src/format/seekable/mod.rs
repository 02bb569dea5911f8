//! The full payload: a zstd seekable file (facebook/zstd,
//! contrib/seekable_format/zstd_seekable_compression_format.md, version 0.1.0)
//! with one frame per segment of the image.
//!
//! ```text
//! frame 0 | frame 1 | ... | frame n-1 | seek table, a skippable frame:
//!   0x184D2A5E | 8n+9 | n times (frame length, segment length) | n | descriptor 0 | 0x8F92EAB1
//!        4        4                 4 + 4                        4        1            4
//! ```

mod frame;
mod table;
mod writer;

pub use frame::{FRAME_LEN_MAX, FrameDecoder, FrameEncoder, FrameError};
pub use table::{Frame, SeekTable, SeekTableError, segment_count, segment_range, tail_len};
pub use writer::Writer;
