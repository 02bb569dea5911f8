//! zstd, as SquashFS stores it: a frame for each block.

use zstd_safe::DCtx;
use zstd_sys::{ZSTD_CCtx, ZSTD_Sequence, ZSTD_cParameter};

use super::CodecError;

/// Memory of an encoder, enough for all levels with 512 KiB of content, and for those up to 8 with
/// 1 MiB. Only what is touched is taken: 3 MiB for 128 KiB of content.
const ROOM: usize = 12 << 20;
/// What a frame begins with.
pub(super) const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Stands for the offset that was used last, or, where there are no literals, for the one before it:
/// zstd adds three, and one is its code for that.
pub(super) const LATEST: u32 = 1u32.wrapping_sub(3);
/// Bytes before a block of metadata, and the bit that says that it is not compressed.
pub(super) const HEAD: usize = 2;
const PLAIN: u16 = 1 << 15;

/// A decoder, and an encoder's memory.
pub(super) struct Zstd {
    decoder: DCtx<'static>,
    room: Vec<u64>,
}

impl Zstd {
    pub fn new() -> Result<Self, CodecError> {
        let decoder = DCtx::try_create().ok_or(CodecError::Memory)?;
        Ok(Self { decoder, room: vec![0; ROOM / size_of::<u64>()] })
    }

    /// What a block holds, at the start of `out`.
    pub fn decode(
        &mut self,
        headed: bool,
        stored: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CodecError> {
        let (plain, block) = if headed { split(stored)? } else { (false, stored) };
        if plain {
            out.get_mut(..block.len()).ok_or(CodecError::Block)?.copy_from_slice(block);
            return Ok(block.len());
        }
        // Only one frame, and no skippable one.
        let len = zstd_safe::find_frame_compressed_size(block);
        if !block.starts_with(&MAGIC) || len != Ok(block.len()) {
            return Err(CodecError::Block);
        }
        self.decoder.decompress(out, block).map_err(|_| CodecError::Block)
    }

    /// The frame of `content` that this version of zstd makes; how long it is. From 1.5.7 on it may
    /// end blocks before it looks for matches, but for `late`.
    #[expect(unsafe_code, reason = "the safe interface has no encoder in given memory")]
    pub fn compress(
        &mut self,
        level: u8,
        late: bool,
        content: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CodecError> {
        // blockSplitterLevel: 1 never, 0 as the level of compression has it.
        let splitter = (ZSTD_cParameter::ZSTD_c_experimentalParam20, late.into());
        let context = self.context(level, &[splitter])?;
        // SAFETY: the context is in memory that is ours for as long as `self` is borrowed; zstd
        // reads `content` within its length and writes `out` within its own.
        let len = unsafe {
            zstd_sys::ZSTD_compress2(
                context,
                out.as_mut_ptr().cast(),
                out.len(),
                content.as_ptr().cast(),
                content.len(),
            )
        };
        length(len)
    }

    /// The frame of `content` whose matches and blocks are `sequences`; how long it is. Offsets that
    /// are in use are told as such where that is possible, for `resolve`, and else where they are
    /// [`LATEST`].
    #[expect(unsafe_code, reason = "the safe interface has no encoder in given memory")]
    pub fn assemble(
        &mut self,
        level: u8,
        resolve: bool,
        sequences: &[ZSTD_Sequence],
        content: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CodecError> {
        check(sequences, content.len())?;
        let parameters = [
            // stableInBuffer: no copy of the content in the context.
            (ZSTD_cParameter::ZSTD_c_experimentalParam9, 1),
            // blockDelimiters: the sequences say where blocks end.
            (ZSTD_cParameter::ZSTD_c_experimentalParam11, 1),
            // validateSequences
            (ZSTD_cParameter::ZSTD_c_experimentalParam12, 1),
            // repcodeResolution: 1 looks for offsets that are in use, 2 does not.
            (ZSTD_cParameter::ZSTD_c_experimentalParam19, if resolve { 1 } else { 2 }),
        ];
        let context = self.context(level, &parameters)?;
        // SAFETY: as above; zstd reads `sequences` and `content` within their lengths, which the
        // former cover exactly, and writes `out` within its own.
        let len = unsafe {
            zstd_sys::ZSTD_compressSequences(
                context,
                out.as_mut_ptr().cast(),
                out.len(),
                sequences.as_ptr(),
                sequences.len(),
                content.as_ptr().cast(),
                content.len(),
            )
        };
        length(len)
    }

    /// A new encoder in the old one's memory: one would not give memory up for a shorter content.
    #[expect(unsafe_code, reason = "the safe interface has no encoder in given memory")]
    fn context(
        &mut self,
        level: u8,
        parameters: &[(ZSTD_cParameter, i32)],
    ) -> Result<*mut ZSTD_CCtx, CodecError> {
        let len = size_of_val(self.room.as_slice());
        // SAFETY: the memory is aligned to eight bytes, has this length, and nothing else uses it.
        let context = unsafe { zstd_sys::ZSTD_initStaticCCtx(self.room.as_mut_ptr().cast(), len) };
        if context.is_null() {
            return Err(CodecError::Memory);
        }
        let always = [
            (ZSTD_cParameter::ZSTD_c_compressionLevel, level.into()),
            // The default, which a context in given memory does not begin with.
            (ZSTD_cParameter::ZSTD_c_contentSizeFlag, 1),
        ];
        for &(parameter, value) in always.iter().chain(parameters) {
            // SAFETY: the context was just made, in memory that is ours for as long as `self` is
            // borrowed.
            let set = unsafe { zstd_sys::ZSTD_CCtx_setParameter(context, parameter, value) };
            length(set)?;
        }
        Ok(context)
    }
}

/// Whether a block of metadata is stored as it is, and its bytes.
fn split(stored: &[u8]) -> Result<(bool, &[u8]), CodecError> {
    let (head, block) = stored.split_first_chunk().ok_or(CodecError::Block)?;
    let head = u16::from_le_bytes(*head);
    if usize::from(head & !PLAIN) != block.len() {
        return Err(CodecError::Block);
    }
    Ok((head & PLAIN != 0, block))
}

/// What stands before a block of metadata.
pub(super) fn head(len: usize, plain: bool) -> Result<[u8; HEAD], CodecError> {
    let len = u16::try_from(len).ok().filter(|len| len & PLAIN == 0).ok_or(CodecError::Room)?;
    Ok((len | if plain { PLAIN } else { 0 }).to_le_bytes())
}

/// Whether these cover `content` bytes: zstd relies on that where it copies literals.
fn check(sequences: &[ZSTD_Sequence], content: usize) -> Result<(), CodecError> {
    let mut at = 0u64;
    for sequence in sequences {
        at += u64::from(sequence.litLength);
        let ends = sequence.offset == 0 && sequence.matchLength == 0;
        let known = sequence.offset == LATEST || (1..=at).contains(&sequence.offset.into());
        let matches = sequence.matchLength > 0 && known;
        at += u64::from(sequence.matchLength);
        if !(ends || matches) || at > content as u64 {
            return Err(CodecError::FixUp);
        }
    }
    if at == content as u64 { Ok(()) } else { Err(CodecError::FixUp) }
}

/// What zstd returned, if that is a length.
fn length(result: usize) -> Result<usize, CodecError> {
    // Errors are the highest numbers, from -1 on down.
    const MEMORY: usize =
        (zstd_sys::ZSTD_ErrorCode::ZSTD_error_memory_allocation as usize).wrapping_neg();
    const LAST: usize = (zstd_sys::ZSTD_ErrorCode::ZSTD_error_maxCode as usize).wrapping_neg();
    match result {
        MEMORY => Err(CodecError::Unsupported),
        LAST.. => Err(CodecError::Zstd(zstd_safe::get_error_name(result))),
        len => Ok(len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// zstd copies literals before it looks where they end.
    #[test]
    fn sequences_that_do_not_cover_their_content_are_refused() {
        let mut coder = Zstd::new().unwrap();
        let mut out = vec![0; 1000];
        let mut given = |sequences: &[(u32, u32, u32)]| {
            let sequences = sequences.iter().map(|&(literals, offset, len)| ZSTD_Sequence {
                offset,
                litLength: literals,
                matchLength: len,
                rep: 0,
            });
            let sequences: Vec<_> = sequences.collect();
            coder.assemble(3, true, &sequences, &[7; 100], &mut out)
        };
        assert!(given(&[(1, 1, 99), (0, 0, 0)]).is_ok());
        for sequences in [
            [(1, 1, 98), (0, 0, 0)],
            [(1, 1, 100), (0, 0, 0)],
            // Their sum as 32 bits would be right.
            [(u32::MAX - 10, 1, 111), (0, 0, 0)],
            [(u32::MAX - 10, 1, 11), (100, 0, 0)],
            [(1, 2, 99), (0, 0, 0)],
            [(1, 0, 99), (0, 0, 0)],
            [(1, 1, 0), (99, 0, 0)],
        ] {
            assert_eq!(given(&sequences), Err(CodecError::FixUp), "{sequences:?}");
        }
    }
}
