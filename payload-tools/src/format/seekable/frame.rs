use zstd_safe::{CCtx, CParameter, DCtx};

use crate::format::SEGMENT;

/// Most bytes of a frame that holds a segment, zstd's own bound.
pub const FRAME_LEN_MAX: usize = SEGMENT + SEGMENT / 256;

const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Bits of the Frame_Header_Descriptor (RFC 8878, 3.1.1.1.1): the window is the
/// content; a dictionary is named.
const SINGLE_SEGMENT: u8 = 1 << 5;
const DICTIONARY: u8 = 0b11;
/// A window that spans prefix and segment, so that all of the prefix can be
/// referred to; the frame itself states the segment as its window.
const PREFIX_WINDOW_LOG: u32 = 24;

/// A frame that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not an ordinary zstd frame.
    #[error("not a zstd frame")]
    Magic,
    /// A frame that needs a dictionary.
    #[error("frame asks for a dictionary")]
    Dictionary,
    /// A window that no segment needs.
    #[error("frame asks for a window of {window} bytes, a segment needs at most {SEGMENT}")]
    Window {
        /// Bytes asked for.
        window: u64,
    },
    /// The frame states no content size, or not that of its segment.
    #[error("frame states {} bytes of content, its segment has {wanted}", display(found))]
    ContentSize {
        /// Bytes stated, if any.
        found: Option<u64>,
        /// Bytes of the segment.
        wanted: usize,
    },
    /// Bytes are left after the frame's end, or it has none.
    #[error("frame does not end where the seek table says")]
    Length,
    /// zstd could not decode it, or could not encode a segment.
    #[error("zstd: {0}")]
    Zstd(&'static str),
}

fn display(size: &Option<u64>) -> String {
    size.map_or_else(|| "no".to_owned(), |size| size.to_string())
}

/// Decodes one frame at a time, whole, with no memory beyond its input, its
/// output and one context.
///
/// The bytes are hostile: a device decodes in a confined child.
pub struct FrameDecoder(DCtx<'static>);

impl FrameDecoder {
    /// A decoder; fails when there is no memory for one.
    pub fn new() -> Result<Self, FrameError> {
        let context = DCtx::try_create();
        context.map(Self).ok_or(FrameError::Zstd("no memory for a decoding context"))
    }

    /// Decodes `frame` into `segment`, which has the size that the frame must have.
    pub fn decode(&mut self, frame: &[u8], segment: &mut [u8]) -> Result<(), FrameError> {
        self.decode_with_prefix(frame, &[], segment)
    }

    /// As [`decode`](Self::decode), for a frame that may refer to `prefix` as if
    /// it came before.
    pub fn decode_with_prefix(
        &mut self,
        frame: &[u8],
        prefix: &[u8],
        segment: &mut [u8],
    ) -> Result<(), FrameError> {
        check_header(frame, segment.len())?;
        let length = zstd_safe::find_frame_compressed_size(frame).map_err(zstd_error)?;
        if length != frame.len() {
            return Err(FrameError::Length);
        }
        let wanted = segment.len();
        // Not as a reference to a prefix, which zstd makes a copy of its tables for: a confined
        // decoder has no memory to give. A prefix that begins like a trained dictionary is read
        // as one, to no harm but a failed segment.
        let found = self.0.decompress_using_dict(segment, frame, prefix).map_err(zstd_error)?;
        if found != wanted {
            return Err(FrameError::ContentSize { found: Some(found as u64), wanted });
        }
        Ok(())
    }
}

/// Encodes segments, each to the same bytes whatever came before.
pub struct FrameEncoder {
    context: CCtx<'static>,
    level: i32,
}

impl FrameEncoder {
    /// An encoder at a zstd level, 1 to 22; fails when there is no memory for one.
    pub fn new(level: i32) -> Result<Self, FrameError> {
        let context = CCtx::try_create();
        let context = context.ok_or(FrameError::Zstd("no memory for an encoding context"))?;
        Ok(Self { context, level })
    }

    /// The frame that holds `segment` and refers to `prefix`.
    pub fn encode_with_prefix(
        level: i32,
        prefix: &[u8],
        segment: &[u8],
    ) -> Result<Vec<u8>, FrameError> {
        let context = CCtx::try_create();
        let mut context = context.ok_or(FrameError::Zstd("no memory for an encoding context"))?;
        let mut set = |parameter| context.set_parameter(parameter).map_err(zstd_error);
        set(CParameter::CompressionLevel(level))?;
        set(CParameter::WindowLog(PREFIX_WINDOW_LOG))?;
        context.ref_prefix(prefix).map_err(zstd_error)?;
        let mut frame = Vec::with_capacity(zstd_safe::compress_bound(segment.len()));
        context.compress2(&mut frame, segment).map_err(zstd_error)?;
        check_header(&frame, segment.len())?;
        Ok(frame)
    }

    /// The frame that holds `segment`.
    pub fn encode(&mut self, segment: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut frame = Vec::with_capacity(zstd_safe::compress_bound(segment.len()));
        self.context.compress(&mut frame, segment, self.level).map_err(zstd_error)?;
        check_header(&frame, segment.len())?;
        Ok(frame)
    }
}

fn check_header(frame: &[u8], wanted: usize) -> Result<(), FrameError> {
    let rest = frame.strip_prefix(&MAGIC).ok_or(FrameError::Magic)?;
    let &[descriptor, window, ..] = rest else {
        return Err(FrameError::Magic);
    };
    if descriptor & DICTIONARY != 0 {
        return Err(FrameError::Dictionary);
    }
    let window = window_size(window);
    if descriptor & SINGLE_SEGMENT == 0 && window > SEGMENT as u64 {
        return Err(FrameError::Window { window });
    }
    let found = zstd_safe::get_frame_content_size(frame).map_err(|_| FrameError::Magic)?;
    if found != Some(wanted as u64) {
        return Err(FrameError::ContentSize { found, wanted });
    }
    Ok(())
}

/// Bytes that a Window_Descriptor stands for (RFC 8878, 3.1.1.1.2).
fn window_size(descriptor: u8) -> u64 {
    let base = 1u64 << (10 + (descriptor >> 3));
    base + base / 8 * u64::from(descriptor & 7)
}

fn zstd_error(code: zstd_safe::ErrorCode) -> FrameError {
    FrameError::Zstd(zstd_safe::get_error_name(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment() -> Vec<u8> {
        (0..65536u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
    }

    fn frame() -> Vec<u8> {
        FrameEncoder::new(3).unwrap().encode(&segment()).unwrap()
    }

    fn decode(frame: &[u8], len: usize) -> Result<Vec<u8>, FrameError> {
        let mut out = vec![0; len];
        FrameDecoder::new()?.decode(frame, &mut out)?;
        Ok(out)
    }

    #[test]
    fn a_frame_gives_its_segment_back_at_every_level() {
        for level in [1, 3, 9, 19, 22] {
            for len in [4096, 65536, SEGMENT] {
                let segment: Vec<u8> = segment().into_iter().cycle().take(len).collect();
                let frame = FrameEncoder::new(level).unwrap().encode(&segment).unwrap();
                assert!(frame.len() <= FRAME_LEN_MAX);
                assert_eq!(decode(&frame, len).unwrap(), segment, "level {level}, {len} bytes");
            }
        }
    }

    #[test]
    fn the_bound_is_that_of_zstd() {
        assert_eq!(FRAME_LEN_MAX, zstd_safe::compress_bound(SEGMENT));
    }

    #[test]
    fn the_size_must_be_the_segments() {
        let len = segment().len();
        for wanted in [0, len - 1, len + 1] {
            let error = decode(&frame(), wanted).unwrap_err();
            assert_eq!(error, FrameError::ContentSize { found: Some(len as u64), wanted });
        }
    }

    #[test]
    fn one_frame_and_nothing_after_it() {
        let len = segment().len();
        let mut twice = frame();
        twice.extend(frame());
        assert_eq!(decode(&twice, len).unwrap_err(), FrameError::Length);
        let mut trailing = frame();
        trailing.push(0);
        assert_eq!(decode(&trailing, len).unwrap_err(), FrameError::Length);
        let cut = &frame()[..frame().len() - 1];
        assert!(decode(cut, len).is_err());
    }

    #[test]
    fn a_stream_without_a_size_is_refused() {
        let mut stream = CCtx::create();
        let mut out = Vec::with_capacity(1 << 20);
        let mut buffer = zstd_safe::OutBuffer::around(&mut out);
        let segment = segment();
        let mut input = zstd_safe::InBuffer::around(&segment);
        stream.compress_stream(&mut buffer, &mut input).unwrap();
        stream.end_stream(&mut buffer).unwrap();
        let wanted = segment.len();
        let error = decode(&out, wanted).unwrap_err();
        assert_eq!(error, FrameError::ContentSize { found: None, wanted });
    }

    #[test]
    fn headers_that_cost_memory_are_refused() {
        let header = |descriptor: u8, window: u8| [&MAGIC[..], &[descriptor, window]].concat();
        let largest = header(0x80, 31 << 3 | 7);
        let window = (1 << 41) + (1 << 38) * 7;
        assert_eq!(decode(&largest, 4096).unwrap_err(), FrameError::Window { window });
        let above = header(0x80, 12 << 3 | 1);
        let window = SEGMENT as u64 / 8 * 9;
        assert_eq!(decode(&above, 4096).unwrap_err(), FrameError::Window { window });
        assert_eq!(decode(&header(0x81, 0), 4096).unwrap_err(), FrameError::Dictionary);
    }

    proptest! {
        #[test]
        fn a_damaged_frame_never_panics(at in 0usize..4096, byte: u8) {
            let mut frame = frame();
            let at = at % frame.len();
            frame[at] = byte;
            let _ = decode(&frame, segment().len());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode(&bytes, 4096);
            let mut frame = MAGIC.to_vec();
            frame.extend(bytes);
            let _ = decode(&frame, 4096);
        }
    }
}
