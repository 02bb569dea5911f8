use std::ops::Range;

use crate::format::{IMAGE_SIZE_MAX, SEGMENT};

const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
const HEADER_LEN: usize = 8;
const ENTRY_LEN: usize = 8;
const FOOTER_LEN: usize = 9;

/// Segments of an image of `image_size` bytes, so frames of its full payload.
pub const fn segment_count(image_size: u64) -> u64 {
    image_size.div_ceil(SEGMENT as u64)
}

/// The bytes of the image that segment `index` holds; empty past the last.
pub fn segment_range(image_size: u64, index: u64) -> Range<u64> {
    let start = index.saturating_mul(SEGMENT as u64).min(image_size);
    start..start.saturating_add(SEGMENT as u64).min(image_size)
}

/// Bytes of the seek table at the end of the full payload of an image: known
/// before anything is fetched, so one range request gets exactly the table.
pub const fn tail_len(image_size: u64) -> u64 {
    (HEADER_LEN + FOOTER_LEN) as u64 + segment_count(image_size) * ENTRY_LEN as u64
}

/// Where a full payload's frames are. Parsed from untrusted bytes: it is
/// consistent with the image's size and the file's length, nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeekTable {
    image_size: u64,
    /// Offsets in the file where frames begin, and the end of the last.
    bounds: Vec<u64>,
}

/// One frame of a full payload and the segment that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Bytes of the payload file.
    pub compressed: Range<u64>,
    /// Bytes of the image.
    pub segment: Range<u64>,
}

/// A seek table that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeekTableError {
    /// The image is larger than any.
    #[error("image of {image_size} bytes is larger than the {IMAGE_SIZE_MAX} allowed")]
    ImageSize {
        /// Bytes of the image.
        image_size: u64,
    },
    /// Not as many bytes as the image's size asks for.
    #[error("seek table has {found} bytes, an image of this size has one of {wanted}")]
    Length {
        /// Bytes given.
        found: u64,
        /// Bytes of the table for this image.
        wanted: u64,
    },
    /// A number that identifies the table is another one.
    #[error("seek table has {found:#x} as its {field}, not {wanted:#x}")]
    Field {
        /// Which number.
        field: &'static str,
        /// What it is.
        found: u32,
        /// What it has to be.
        wanted: u32,
    },
    /// A frame does not hold its segment.
    #[error("frame {index} holds {found} bytes of the image, segment {index} has {wanted}")]
    Segment {
        /// Index of the frame.
        index: u64,
        /// Bytes stated.
        found: u32,
        /// Bytes of the segment.
        wanted: u64,
    },
    /// A frame that is empty or longer than its segment can become.
    #[error("frame {index} has {found} bytes, a frame has 1 to {max}")]
    FrameLength {
        /// Index of the frame.
        index: u64,
        /// Bytes stated.
        found: u32,
        /// Most bytes.
        max: u64,
    },
    /// Frames and table do not fill the file.
    #[error("frames and seek table have {found} bytes, the file has {file_len}")]
    FileLength {
        /// Bytes of the frames and the table.
        found: u64,
        /// Bytes of the file.
        file_len: u64,
    },
}

impl SeekTable {
    /// Bytes at the end of the file that state the frame count.
    pub const FOOTER_LEN: usize = FOOTER_LEN;

    /// The table's length by its own last bytes, where no manifest tells it.
    pub fn stated_tail_len(
        footer: &[u8; FOOTER_LEN],
        file_len: u64,
    ) -> Result<u64, SeekTableError> {
        let magic = word(footer, 5);
        if magic != SEEKABLE_MAGIC {
            let (field, wanted) = ("seekable magic", SEEKABLE_MAGIC);
            return Err(SeekTableError::Field { field, found: magic, wanted });
        }
        let frames = u64::from(word(footer, 0));
        let wanted = (HEADER_LEN + FOOTER_LEN) as u64 + frames * ENTRY_LEN as u64;
        if frames > segment_count(IMAGE_SIZE_MAX) || wanted > file_len {
            return Err(SeekTableError::Length { found: file_len, wanted });
        }
        Ok(wanted)
    }

    /// The image's size by the table itself, where no manifest tells it.
    pub fn stated_image_size(tail: &[u8]) -> u64 {
        let entries = tail.get(HEADER_LEN..).unwrap_or_default().chunks_exact(ENTRY_LEN);
        let count = (tail.len() / ENTRY_LEN).saturating_sub(2);
        entries.take(count).map(|entry| u64::from(word(entry, 4))).sum()
    }

    /// Reads the last [`tail_len`] bytes of a full payload of `file_len` bytes
    /// that is to hold an image of `image_size` bytes.
    pub fn parse(tail: &[u8], image_size: u64, file_len: u64) -> Result<Self, SeekTableError> {
        let entries = check_envelope(tail, image_size)?;
        let mut bounds = vec![0u64];
        let mut end = 0u64;
        for (index, entry) in (0u64..).zip(entries.chunks_exact(ENTRY_LEN)) {
            end += check_entry(entry, image_size, index)?;
            bounds.push(end);
        }
        let found = end + tail_len(image_size);
        if found != file_len {
            return Err(SeekTableError::FileLength { found, file_len });
        }
        Ok(Self { image_size, bounds })
    }

    /// Frames, which are segments.
    pub fn frame_count(&self) -> u64 {
        self.bounds.len() as u64 - 1
    }

    /// Bytes of all frames: the file without its table.
    pub fn frames_len(&self) -> u64 {
        self.bounds.last().copied().unwrap_or(0)
    }

    /// Frame `index`, or `None` past the last.
    pub fn frame(&self, index: u64) -> Option<Frame> {
        let at = usize::try_from(index).ok()?;
        let compressed = *self.bounds.get(at)?..*self.bounds.get(at.checked_add(1)?)?;
        Some(Frame { compressed, segment: segment_range(self.image_size, index) })
    }
}

/// Checks everything around the entries, and returns the entries.
fn check_envelope(tail: &[u8], image_size: u64) -> Result<&[u8], SeekTableError> {
    if image_size > IMAGE_SIZE_MAX {
        return Err(SeekTableError::ImageSize { image_size });
    }
    let wanted = tail_len(image_size);
    if tail.len() as u64 != wanted {
        return Err(SeekTableError::Length { found: tail.len() as u64, wanted });
    }
    let footer_at = tail.len() - FOOTER_LEN;
    let (body, footer) = tail.split_at(footer_at);
    let content_len = (tail.len() - HEADER_LEN) as u32;
    let frames = segment_count(image_size) as u32;
    let fields = [
        ("skippable frame magic", word(body, 0), SKIPPABLE_MAGIC),
        ("skippable frame length", word(body, 4), content_len),
        ("frame count", word(footer, 0), frames),
        // Checksums (bit 7) would change the size of the entries.
        ("descriptor", u32::from(footer[4]), 0),
        ("seekable magic", word(footer, 5), SEEKABLE_MAGIC),
    ];
    for (field, found, wanted) in fields {
        if found != wanted {
            return Err(SeekTableError::Field { field, found, wanted });
        }
    }
    Ok(&body[HEADER_LEN..])
}

/// The length of the frame that an entry describes.
fn check_entry(entry: &[u8], image_size: u64, index: u64) -> Result<u64, SeekTableError> {
    let (length, found) = (word(entry, 0), word(entry, 4));
    let segment = segment_range(image_size, index);
    let wanted = segment.end - segment.start;
    if u64::from(found) != wanted {
        return Err(SeekTableError::Segment { index, found, wanted });
    }
    let max = zstd_safe::compress_bound(wanted as usize) as u64;
    if length == 0 || u64::from(length) > max {
        return Err(SeekTableError::FrameLength { index, found: length, max });
    }
    Ok(length.into())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The bytes of the table of frames of these lengths.
pub(super) fn encode(frame_lens: &[u32], image_size: u64) -> Vec<u8> {
    let content_len = frame_lens.len() * ENTRY_LEN + FOOTER_LEN;
    let mut bytes = Vec::with_capacity(HEADER_LEN + content_len);
    bytes.extend(SKIPPABLE_MAGIC.to_le_bytes());
    bytes.extend((content_len as u32).to_le_bytes());
    for (index, length) in (0u64..).zip(frame_lens) {
        let segment = segment_range(image_size, index);
        bytes.extend(length.to_le_bytes());
        bytes.extend(((segment.end - segment.start) as u32).to_le_bytes());
    }
    bytes.extend((frame_lens.len() as u32).to_le_bytes());
    bytes.push(0);
    bytes.extend(SEEKABLE_MAGIC.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: u64 = 2 * SEGMENT as u64 + 4096;
    const LENS: [u32; 3] = [1000, 17, 300];
    const FRAMES_LEN: u64 = 1317;

    fn good() -> Vec<u8> {
        encode(&LENS, SIZE)
    }

    fn parse(tail: &[u8]) -> Result<SeekTable, SeekTableError> {
        SeekTable::parse(tail, SIZE, FRAMES_LEN + tail_len(SIZE))
    }

    #[test]
    fn a_table_names_frames_and_segments() {
        let table = parse(&good()).unwrap();
        assert_eq!(table.frame_count(), 3);
        assert_eq!(table.frames_len(), FRAMES_LEN);
        let last = table.frame(2).unwrap();
        assert_eq!(last.compressed, 1017..1317);
        assert_eq!(last.segment, 2 * SEGMENT as u64..SIZE);
        assert_eq!(table.frame(3), None);
        assert_eq!(table.frame(u64::MAX), None);
    }

    #[test]
    fn an_empty_image_has_an_empty_table() {
        let tail = encode(&[], 0);
        assert_eq!(tail.len(), 17);
        assert_eq!(SeekTable::parse(&tail, 0, 17).unwrap().frame_count(), 0);
    }

    /// Every single number of the table, made wrong, is refused by its name.
    #[test]
    fn every_field_is_checked() {
        let tail = good();
        let end = tail.len();
        let refused = [
            (0, "skippable frame magic"),
            (4, "skippable frame length"),
            (end - 9, "frame count"),
            (end - 5, "descriptor"),
            (end - 1, "seekable magic"),
        ];
        for (at, name) in refused {
            let mut bad = tail.clone();
            bad[at] ^= 0x80;
            match parse(&bad).unwrap_err() {
                SeekTableError::Field { field, .. } => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_frame_is_bounded_by_its_segment() {
        let max = zstd_safe::compress_bound(4096) as u32;
        for length in [0, max + 1, u32::MAX] {
            let bad = encode(&[1000, 17, length], SIZE);
            let error = SeekTable::parse(&bad, SIZE, u64::MAX).unwrap_err();
            assert!(matches!(error, SeekTableError::FrameLength { index: 2, .. }), "{error:?}");
        }
        let mut bad = good();
        bad[12] ^= 1;
        assert!(matches!(parse(&bad).unwrap_err(), SeekTableError::Segment { index: 0, .. }));
    }

    #[test]
    fn frames_and_table_fill_the_file() {
        let error = SeekTable::parse(&good(), SIZE, 5000).unwrap_err();
        assert!(matches!(error, SeekTableError::FileLength { file_len: 5000, .. }));
        let short = &good()[1..];
        assert!(matches!(parse(short).unwrap_err(), SeekTableError::Length { .. }));
        let error = SeekTable::parse(&good(), u64::MAX, 5000).unwrap_err();
        assert!(matches!(error, SeekTableError::ImageSize { .. }));
    }

    proptest! {
        #[test]
        fn arbitrary_tails_never_panic(
            tail in proptest::collection::vec(any::<u8>(), 0..128),
            image_size: u64,
            file_len: u64,
        ) {
            let _ = SeekTable::parse(&tail, image_size, file_len);
        }

        /// Whatever is accepted stays inside the file and holds the image once.
        #[test]
        fn an_accepted_table_is_consistent(at in 0usize..41, byte: u8, file_len in 0u64..10_000) {
            let mut tail = good();
            tail[at] = byte;
            if let Ok(table) = SeekTable::parse(&tail, SIZE, file_len) {
                let frames: Vec<_> = (0..table.frame_count()).map(|i| table.frame(i).unwrap()).collect();
                prop_assert_eq!(frames.last().unwrap().compressed.end, file_len - tail.len() as u64);
                prop_assert_eq!(frames.last().unwrap().segment.end, SIZE);
                for pair in frames.windows(2) {
                    prop_assert_eq!(pair[0].compressed.end, pair[1].compressed.start);
                    prop_assert_eq!(pair[0].segment.end, pair[1].segment.start);
                }
            }
        }
    }
}
