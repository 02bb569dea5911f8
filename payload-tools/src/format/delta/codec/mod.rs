//! Blocks of compressed file systems: what they hold, and how they come back bit for bit.
//!
//! Content is encoded again by the encoder at hand. Where that makes other bytes than the one did
//! that made the file system, a *fix-up* says what to change:
//!
//! ```text
//! 0                  nothing: the encoder's output
//! 1, used            the content as it is
//! 2, used, patch     a patch of the encoder's output
//! 3, used, edits     zstd: what its encoder makes of other matches and blocks (see `edits.rs`)
//! 4, used, edits, patch
//! 8 to 12            as 0 to 4, but the encoder has another way, and `used` follows all: zstd does
//!                    not end blocks before it has looked for matches, LZ4 does not look ahead
//! 19, 20, 27, 28     as 3, 4, 11 and 12, but offsets that are in use are only told as such where
//!                    faster levels of zstd do that
//!
//! patch:  length, common start, common end, the bytes in between
//! ```

mod edits;
mod fix;
mod lz4;
mod sequences;
mod tables;
#[cfg(test)]
mod tests;
mod zstd;

use std::ops::Range;

pub use fix::fix_up;

use super::varint::{Reader, VarintError};
use crate::format::BLOCK;

/// Most bytes that a block holds, for zstd, and that it takes.
pub const BLOCK_MAX: usize = 1 << 20;

/// How a file system compresses blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// SquashFS with zstd: a frame for each `content` bytes, where that is shorter than they are.
    Zstd {
        /// 1 to 22.
        level: u8,
        /// Bytes of the content of each block but the last, a power of two from 4 KiB to 1 MiB.
        content: u32,
        /// Blocks of metadata: two bytes before each say how long it is, and whether it is compressed.
        headed: bool,
    },
    /// EROFS with LZ4: as much content as fits `stored` bytes, at the end of whole blocks of 4 KiB.
    Lz4 {
        /// 0: not the high compressor; 3 to 12.
        level: u8,
        /// Bytes that a block takes at most, a multiple of 4 KiB, at most 1 MiB.
        stored: u32,
    },
}

/// A block or a fix-up that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There is no memory for encoders.
    #[error("no memory for encoders")]
    Memory,
    /// A level or a length that encoders here have no memory for.
    #[error("a codec that is not supported")]
    Unsupported,
    /// Not a coded block.
    #[error("not a coded block")]
    Block,
    /// More bytes than there may be.
    #[error("no room for a block")]
    Room,
    /// A fix-up that does not fit its block.
    #[error("a fix-up that does not fit its block")]
    FixUp,
    /// A fix-up with a bad number.
    #[error("a fix-up where {0}")]
    Number(#[from] VarintError),
    /// zstd could not encode a block.
    #[error("zstd: {0}")]
    Zstd(&'static str),
}

/// Decodes and encodes blocks. It has all the memory for that, much of which is never touched:
/// neither takes any, nor calls the kernel.
pub struct Coder {
    zstd: zstd::Zstd,
    lz4: lz4::Lz4,
    /// Of the frame that zstd makes, and as they are edited.
    sequences: sequences::Sequences,
    given: edits::Given,
    /// What the encoder at hand makes, until the fix-up is applied.
    own: Vec<u8>,
}

impl Coder {
    /// Takes the memory.
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self {
            zstd: zstd::Zstd::new()?,
            lz4: lz4::Lz4::new(),
            sequences: sequences::Sequences::new(),
            given: edits::Given::new(),
            own: vec![0; zstd::HEAD + zstd_safe::compress_bound(BLOCK_MAX)],
        })
    }

    /// Decodes one block that is stored coded (that of metadata may also be as it is, its header
    /// says so). How many bytes of content it has, which are at the start of `out`.
    pub fn decode(
        &mut self,
        codec: Codec,
        stored: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CodecError> {
        match codec {
            Codec::Zstd { content, headed, .. } => {
                let room = out.len().min(content as usize);
                self.zstd.decode(headed, stored, &mut out[..room])
            }
            Codec::Lz4 { .. } => lz4::Lz4::decode(stored, out),
        }
    }

    /// Makes the next block of `content`, which is all that is left of a run: an encoder may look
    /// ahead. Reads the block's fix-up from `fix`, and writes the block at the start of `out`. How
    /// many bytes of content it took, and how many the block has.
    pub fn encode(
        &mut self,
        codec: Codec,
        content: &[u8],
        fix: &mut Reader<'_>,
        out: &mut [u8],
    ) -> Result<(usize, usize), CodecError> {
        let kind = fix.number()?;
        let (kind, ways) = (kind % fix::OTHER, kind - kind % fix::OTHER);
        let other = match ways {
            0 => false,
            fix::OTHER => true,
            _ if kind != fix::EDITS && kind != fix::EDITS_AND_PATCH => {
                return Err(CodecError::FixUp);
            }
            _ => ways & fix::OTHER != 0,
        };
        if kind == fix::OWN && !other {
            let (used, made) = self.make(codec, content, false)?;
            return Ok((used, self.copy(made, out)?));
        }
        let used = usize::try_from(fix.number()?).map_err(|_| CodecError::FixUp)?;
        let taken = content.get(..used).ok_or(CodecError::FixUp)?;
        let len = match kind {
            fix::OWN => {
                let (took, made) = self.make_taken(codec, content, used, other)?;
                if took != used {
                    return Err(CodecError::FixUp);
                }
                self.copy(made, out)?
            }
            fix::PLAIN => plain(codec, taken, out)?,
            fix::PATCH => {
                let patch = fix::Patch::parse(fix)?;
                let made = if patch.is_whole() {
                    0..0
                } else {
                    self.make_taken(codec, content, used, other)?.1
                };
                patch.apply(&self.own[made], out)?
            }
            fix::EDITS => {
                let made = self.edited(codec, ways, taken, fix)?;
                self.copy(made, out)?
            }
            fix::EDITS_AND_PATCH => {
                let made = self.edited(codec, ways, taken, fix)?;
                fix::Patch::parse(fix)?.apply(&self.own[made], out)?
            }
            _ => return Err(CodecError::FixUp),
        };
        Ok((used, len))
    }

    fn copy(&self, made: Range<usize>, out: &mut [u8]) -> Result<usize, CodecError> {
        let made = &self.own[made];
        out.get_mut(..made.len()).ok_or(CodecError::Room)?.copy_from_slice(made);
        Ok(made.len())
    }

    /// [`make`](Self::make), where `used` bytes of `content` are to be in the block.
    fn make_taken(
        &mut self,
        codec: Codec,
        content: &[u8],
        used: usize,
        other: bool,
    ) -> Result<(usize, Range<usize>), CodecError> {
        let ahead = matches!(codec, Codec::Lz4 { .. }) && !other;
        self.make(codec, if ahead { content } else { &content[..used] }, other)
    }

    /// What the encoder at hand makes of the start of `content`: how much that takes, and where in
    /// `self.own` the block is.
    fn make(
        &mut self,
        codec: Codec,
        content: &[u8],
        other: bool,
    ) -> Result<(usize, Range<usize>), CodecError> {
        match codec {
            Codec::Zstd { level, content: most, headed } => {
                let content = &content[..content.len().min(most as usize)];
                let frame = &mut self.own[zstd::HEAD..];
                let len = self.zstd.compress(level, other, content, frame)?;
                let made = if len < content.len() {
                    self.finish(headed, len)?
                } else {
                    0..plain(codec, content, &mut self.own)?
                };
                Ok((content.len(), made))
            }
            Codec::Lz4 { level, stored } => {
                let (used, len) = self.lz4.encode(level, stored, content, &mut self.own)?;
                Ok((used, 0..len))
            }
        }
    }

    /// The block with the frame of `len` bytes that is in `self.own` behind the place of a header.
    fn finish(&mut self, headed: bool, len: usize) -> Result<Range<usize>, CodecError> {
        let end = zstd::HEAD + len;
        if !headed {
            return Ok(zstd::HEAD..end);
        }
        self.own[..zstd::HEAD].copy_from_slice(&zstd::head(len, false)?);
        Ok(0..end)
    }

    /// Reads the sequences of what the encoder at hand makes of `content`.
    fn sequences(&mut self, level: u8, other: bool, content: &[u8]) -> Result<(), CodecError> {
        if content.len() > sequences::CONTENT_MAX {
            return Err(CodecError::Unsupported);
        }
        let frame = &mut self.own[zstd::HEAD..];
        let len = self.zstd.compress(level, other, content, frame)?;
        self.sequences.read(&frame[..len], content.len())
    }

    /// What the encoder at hand makes of edited sequences, as [`make`](Self::make).
    fn edited(
        &mut self,
        codec: Codec,
        ways: u64,
        content: &[u8],
        fix: &mut Reader<'_>,
    ) -> Result<Range<usize>, CodecError> {
        if ways & !(fix::OTHER | fix::IN_FULL) != 0 {
            return Err(CodecError::FixUp);
        }
        let (other, resolve) = (ways & fix::OTHER != 0, ways & fix::IN_FULL == 0);
        let Codec::Zstd { level, headed, .. } = codec else { return Err(CodecError::FixUp) };
        self.sequences(level, other, content)?;
        let given = self.given.edit(&self.sequences, resolve, content, fix)?;
        let len =
            self.zstd.assemble(level, resolve, given, content, &mut self.own[zstd::HEAD..])?;
        self.finish(headed, len)
    }
}

/// The block that has `content` as it is.
fn plain(codec: Codec, content: &[u8], out: &mut [u8]) -> Result<usize, CodecError> {
    let (start, whole) = match codec {
        Codec::Zstd { headed: true, .. } => (zstd::HEAD, zstd::HEAD + content.len()),
        Codec::Zstd { headed: false, .. } => (0, content.len()),
        Codec::Lz4 { .. } => (0, content.len().next_multiple_of(BLOCK)),
    };
    let out = out.get_mut(..whole).ok_or(CodecError::Room)?;
    if start > 0 {
        out[..start].copy_from_slice(&zstd::head(content.len(), true)?);
    }
    out[start..][..content.len()].copy_from_slice(content);
    out[start + content.len()..].fill(0);
    Ok(whole)
}
