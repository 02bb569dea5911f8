//! LZ4, as EROFS stores it: whole blocks of 4 KiB with the coded bytes at their end.

use std::ffi::{c_char, c_int, c_void};

use lz4_sys::LZ4_decompress_safe;

use super::CodecError;
use crate::format::BLOCK;

/// The levels of the high compressor from the eleventh on take memory with each call.
const LEVELS: std::ops::RangeInclusive<u8> = 3..=9;

/// Most bytes that an encoder reads, the library's LZ4_MAX_INPUT_SIZE.
const CONTENT_MAX: usize = 0x7E00_0000;

// The bindings of the crate do not have them.
#[expect(unsafe_code, reason = "LZ4 is C")]
unsafe extern "C" {
    fn LZ4_sizeofState() -> c_int;
    fn LZ4_sizeofStateHC() -> c_int;
    fn LZ4_compress_destSize_extState(
        state: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_len: *mut c_int,
        room: c_int,
        acceleration: c_int,
    ) -> c_int;
    fn LZ4_compress_HC_destSize(
        state: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_len: *mut c_int,
        room: c_int,
        level: c_int,
    ) -> c_int;
}

/// The encoders' memory.
pub(super) struct Lz4(Vec<u64>);

impl Lz4 {
    pub fn new() -> Self {
        Self(vec![0; state_len().div_ceil(size_of::<u64>())])
    }

    /// What a cluster holds, at the start of `out`.
    pub fn decode(stored: &[u8], out: &mut [u8]) -> Result<usize, CodecError> {
        // No coded block begins with a zero: its first sequence has literals.
        let start = stored.iter().position(|&byte| byte != 0).ok_or(CodecError::Block)?;
        decompress(&stored[start..], out)
    }

    /// As much of `content` as a cluster of `stored` bytes takes; what it took, and the cluster's
    /// bytes.
    pub fn encode(
        &mut self,
        level: u8,
        stored: u32,
        content: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, usize), CodecError> {
        let room = out.get_mut(..stored as usize).ok_or(CodecError::Room)?;
        let (used, len) = self.compress(level, content, room)?;
        if len == 0 || used == 0 {
            return Err(CodecError::Room);
        }
        let whole = len.next_multiple_of(BLOCK);
        let out = out.get_mut(..whole).ok_or(CodecError::Room)?;
        out.copy_within(..len, whole - len);
        out[..whole - len].fill(0);
        Ok((used, whole))
    }

    #[expect(unsafe_code, reason = "LZ4 is C")]
    fn compress(
        &mut self,
        level: u8,
        content: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, usize), CodecError> {
        let high = LEVELS.contains(&level);
        if !high && level != 0 {
            return Err(CodecError::Unsupported);
        }
        let mut used = content.len().min(CONTENT_MAX) as c_int;
        let room = c_int::try_from(out.len()).map_err(|_| CodecError::Room)?;
        let (state, src, dst) =
            (self.0.as_mut_ptr().cast(), content.as_ptr().cast(), out.as_mut_ptr().cast());
        // SAFETY: the state is aligned to eight bytes and as long as either encoder wants it. They
        // read at most `used` bytes, which `content` has, and write at most `room`, which `out` has.
        let len = unsafe {
            if high {
                LZ4_compress_HC_destSize(state, src, dst, &mut used, room, level.into())
            } else {
                LZ4_compress_destSize_extState(state, src, dst, &mut used, room, 1)
            }
        };
        Ok((usize::try_from(used).unwrap_or(0), usize::try_from(len).unwrap_or(0)))
    }
}

#[expect(unsafe_code, reason = "LZ4 is C")]
fn state_len() -> usize {
    // SAFETY: both only return a constant.
    let lens = unsafe { [LZ4_sizeofState(), LZ4_sizeofStateHC()] };
    lens.into_iter().max().and_then(|len| usize::try_from(len).ok()).unwrap_or(0)
}

#[expect(unsafe_code, reason = "LZ4 is C")]
fn decompress(block: &[u8], out: &mut [u8]) -> Result<usize, CodecError> {
    let len = c_int::try_from(block.len()).map_err(|_| CodecError::Block)?;
    let room = out.len().min(c_int::MAX as usize) as c_int;
    // SAFETY: it reads at most `len` bytes, which `block` has, and writes at most `room`, which
    // `out` has, whatever the bytes are.
    let got =
        unsafe { LZ4_decompress_safe(block.as_ptr().cast(), out.as_mut_ptr().cast(), len, room) };
    usize::try_from(got).map_err(|_| CodecError::Block)
}
