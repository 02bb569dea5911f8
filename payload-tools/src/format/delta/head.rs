use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::BODY_LEN_MAX;
use crate::format::seekable::{segment_count, segment_range};
use crate::format::{BLOCK, Hash, IMAGE_SIZE_MAX};

const MAGIC: &[u8; 8] = b"SSDELTA4";
/// Bytes of the head before its segment words: magic, two sizes, two roots.
pub const FIXED_LEN: usize = 88;
const WORD_LEN: usize = 4;
/// The kind is in the word's top byte, the length of the body below.
const LENGTH_BITS: u32 = 24;

/// Bytes of the head of a delta to an image of `image_size` bytes: known before
/// anything is fetched.
pub const fn head_len(image_size: u64) -> u64 {
    FIXED_LEN as u64 + segment_count(image_size) * WORD_LEN as u64
}

/// How a segment is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is all zeroes.
    Zero = 0,
    /// It is ranges of the old image.
    Copy = 1,
    /// It is a zstd frame.
    Zstd = 2,
    /// It is a zstd frame that refers to ranges of the old image.
    Prefix = 3,
    /// It is ranges of the old image, with a difference and new bytes.
    Patch = 4,
    /// It is what packed blocks of the old image hold, patched and packed again.
    Repack = 5,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 6] =
        [Kind::Zero, Kind::Copy, Kind::Zstd, Kind::Prefix, Kind::Patch, Kind::Repack];

    /// What a person is told of it.
    pub const fn in_words(self) -> &'static str {
        match self {
            Kind::Zero => "zeroes",
            Kind::Copy => "copied",
            Kind::Zstd => "compressed alone",
            Kind::Prefix => "compressed after old content",
            Kind::Patch => "patched old content",
            Kind::Repack => "unpacked, patched and packed",
        }
    }

    fn number(self) -> u32 {
        self as u32
    }
}

/// What a delta is from and to, and where its segments' bodies are. Parsed from
/// untrusted bytes: it fills the file, nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the old image.
    pub from_size: u64,
    /// Bytes of the new image.
    pub to_size: u64,
    /// Root of the old image's tree.
    pub from_root: Hash,
    /// Root of the new image's tree.
    pub to_root: Hash,
    kinds: Vec<Kind>,
    /// Offsets in the file where bodies begin, and the end of the last.
    bounds: Vec<u64>,
}

/// One segment of a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How it is made.
    pub kind: Kind,
    /// Bytes of the delta file that are its body.
    pub body: Range<u64>,
    /// Bytes of the new image.
    pub segment: Range<u64>,
}

/// A head that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not a delta, or one of another version.
    #[error("not a delta payload of this version")]
    Magic,
    /// A size that no image has, or not this one.
    #[error("the {image} image is said to have {size} bytes, which it cannot have")]
    ImageSize {
        /// Old or new.
        image: &'static str,
        /// Bytes stated.
        size: u64,
    },
    /// Not as many bytes as the new image's size asks for.
    #[error("the head has {found} bytes, an image of this size has one of {wanted}")]
    Length {
        /// Bytes given.
        found: u64,
        /// Bytes of the head.
        wanted: u64,
    },
    /// A kind of segment that is not known.
    #[error("segment {index} is of the unknown kind {kind}")]
    Kind {
        /// Index of the segment.
        index: u64,
        /// The number.
        kind: u32,
    },
    /// A body longer than its kind can be, or empty where it cannot.
    #[error("segment {index} has a body of {found} bytes, its kind has {min} to {max}")]
    BodyLength {
        /// Index of the segment.
        index: u64,
        /// Bytes stated.
        found: u64,
        /// Least bytes.
        min: u64,
        /// Most bytes.
        max: u64,
    },
    /// Head and bodies do not fill the file.
    #[error("head and bodies have {found} bytes, the file has {file_len}")]
    FileLength {
        /// Bytes of head and bodies.
        found: u64,
        /// Bytes of the file.
        file_len: u64,
    },
    /// A delta between other images.
    #[error("it makes {to_root} of {from_root}, other images than it was asked for")]
    OtherImages {
        /// Root of its old image.
        from_root: Hash,
        /// Root of its new image.
        to_root: Hash,
    },
}

impl Head {
    /// Whether a file that begins so calls itself a delta.
    pub fn is_delta(start: &[u8]) -> bool {
        start.starts_with(MAGIC)
    }

    /// The head's length by its own first bytes, where no manifest tells it.
    pub fn stated_len(fixed: &[u8; FIXED_LEN]) -> Result<u64, HeadError> {
        let fixed = Fixed::parse(fixed)?;
        Ok(head_len(fixed.to_size))
    }

    /// Reads the head of a delta file of `file_len` bytes.
    pub fn parse(bytes: &[u8], file_len: u64) -> Result<Self, HeadError> {
        let length = |wanted| HeadError::Length { found: bytes.len() as u64, wanted };
        let (fixed, words) =
            bytes.split_first_chunk::<FIXED_LEN>().ok_or_else(|| length(FIXED_LEN as u64))?;
        let Fixed { from_size, to_size, from_root, to_root } = Fixed::parse(fixed)?;
        let wanted = head_len(to_size);
        if bytes.len() as u64 != wanted {
            return Err(length(wanted));
        }
        let (mut kinds, mut bounds, mut end) = (Vec::new(), vec![wanted], wanted);
        for (index, word) in (0u64..).zip(words.chunks_exact(WORD_LEN)) {
            let (kind, len) = parse_word(index, [word[0], word[1], word[2], word[3]])?;
            // At most 2^14 segments of at most 2^24 bytes.
            end += len;
            kinds.push(kind);
            bounds.push(end);
        }
        if end != file_len {
            return Err(HeadError::FileLength { found: end, file_len });
        }
        Ok(Self { from_size, to_size, from_root, to_root, kinds, bounds })
    }

    /// Refuses a delta between other images than those of these roots, the new one of that size.
    pub fn expect(&self, from: &Hash, to: &Hash, to_size: u64) -> Result<(), HeadError> {
        self.expect_roots(from, to)?;
        match self.to_size == to_size {
            true => Ok(()),
            false => Err(HeadError::ImageSize { image: "new", size: self.to_size }),
        }
    }

    /// Refuses a delta between other images than those of these roots.
    pub fn expect_roots(&self, from: &Hash, to: &Hash) -> Result<(), HeadError> {
        let Self { from_root, to_root, .. } = *self;
        if (from_root, to_root) == (*from, *to) {
            return Ok(());
        }
        Err(HeadError::OtherImages { from_root, to_root })
    }

    /// Segments of the new image.
    pub fn segments(&self) -> u64 {
        self.kinds.len() as u64
    }

    /// Segment `index`, or `None` past the last.
    pub fn part(&self, index: u64) -> Option<Part> {
        let at = usize::try_from(index).ok()?;
        let body = *self.bounds.get(at)?..*self.bounds.get(at.checked_add(1)?)?;
        let segment = segment_range(self.to_size, index);
        Some(Part { kind: *self.kinds.get(at)?, body, segment })
    }

    /// The bytes of the head of a delta with these segments.
    pub fn encode(
        (from_root, from_size): (&Hash, u64),
        (to_root, to_size): (&Hash, u64),
        segments: &[(Kind, u32)],
    ) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(from_size.to_le_bytes());
        bytes.extend(to_size.to_le_bytes());
        bytes.extend(from_root.as_bytes());
        bytes.extend(to_root.as_bytes());
        for (kind, len) in segments {
            bytes.extend((kind.number() << LENGTH_BITS | len).to_le_bytes());
        }
        bytes
    }
}

struct Fixed {
    from_size: u64,
    to_size: u64,
    from_root: Hash,
    to_root: Hash,
}

impl Fixed {
    fn parse(bytes: &[u8; FIXED_LEN]) -> Result<Self, HeadError> {
        if !Head::is_delta(bytes) {
            return Err(HeadError::Magic);
        }
        let number = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let root = |at: usize| {
            let mut root = [0; 32];
            root.copy_from_slice(&bytes[at..at + 32]);
            Hash::from_bytes(root)
        };
        let fixed = Self {
            from_size: number(8),
            to_size: number(16),
            from_root: root(24),
            to_root: root(56),
        };
        for (image, size) in [("old", fixed.from_size), ("new", fixed.to_size)] {
            if size == 0 || size > IMAGE_SIZE_MAX || !size.is_multiple_of(BLOCK as u64) {
                return Err(HeadError::ImageSize { image, size });
            }
        }
        Ok(fixed)
    }
}

fn parse_word(index: u64, word: [u8; WORD_LEN]) -> Result<(Kind, u64), HeadError> {
    let word = u32::from_le_bytes(word);
    let kind = word >> LENGTH_BITS;
    let known = Kind::ALL.into_iter().find(|known| known.number() == kind);
    let known = known.ok_or(HeadError::Kind { index, kind })?;
    let found = u64::from(word & ((1 << LENGTH_BITS) - 1));
    let (min, max) = match known {
        Kind::Zero => (0, 0),
        _ => (1, BODY_LEN_MAX as u64),
    };
    if !(min..=max).contains(&found) {
        return Err(HeadError::BodyLength { index, found, min, max });
    }
    Ok((known, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::SEGMENT;
    use proptest::prelude::*;

    const SIZE: u64 = 2 * SEGMENT as u64 + 4096;
    const SEGMENTS: [(Kind, u32); 3] = [(Kind::Patch, 1000), (Kind::Zero, 0), (Kind::Copy, 13)];

    fn good() -> Vec<u8> {
        let (from, to) = (Hash::of(b"old"), Hash::of(b"new"));
        Head::encode((&from, 4096), (&to, SIZE), &SEGMENTS)
    }

    fn file_len() -> u64 {
        head_len(SIZE) + 1013
    }

    #[test]
    fn a_head_names_segments_and_bodies() {
        let head = Head::parse(&good(), file_len()).unwrap();
        assert_eq!(head.segments(), 3);
        assert_eq!((head.from_size, head.to_size), (4096, SIZE));
        assert_eq!(head.expect(&Hash::of(b"old"), &Hash::of(b"new"), SIZE), Ok(()));
        let other = head.expect(&Hash::of(b"new"), &Hash::of(b"new"), SIZE).unwrap_err();
        assert!(matches!(other, HeadError::OtherImages { .. }));
        let last = head.part(2).unwrap();
        assert_eq!((last.kind, last.body), (Kind::Copy, 1100..1113));
        assert_eq!(last.segment, 2 * SEGMENT as u64..SIZE);
        assert_eq!(head.part(3), None);
        assert_eq!(head.part(u64::MAX), None);
        let fixed = good().first_chunk().copied().unwrap();
        assert_eq!(Head::stated_len(&fixed), Ok(good().len() as u64));
    }

    /// Every field of the head, made wrong, is refused by its name.
    #[test]
    fn every_field_is_checked() {
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bad = good();
            change(&mut bad);
            Head::parse(&bad, file_len()).unwrap_err()
        };
        for at in 0..8 {
            assert_eq!(refused(&|bad| bad[at] ^= 1), HeadError::Magic, "byte {at}");
        }
        for (at, image) in [(8, "old"), (16, "new")] {
            for size in [0, 1, 4097, IMAGE_SIZE_MAX + 4096, u64::MAX, u64::MAX - 4095] {
                let error = refused(&|bad| bad[at..at + 8].copy_from_slice(&size.to_le_bytes()));
                assert_eq!(error, HeadError::ImageSize { image, size });
            }
        }
        let longer = refused(&|bad| bad[18] = 0xF1);
        assert!(matches!(longer, HeadError::Length { found: 100, .. }), "{longer:?}");
        assert_eq!(refused(&|bad| bad[91] = 6), HeadError::Kind { index: 0, kind: 6 });
        let empty = refused(&|bad| bad[88..91].fill(0));
        assert!(matches!(empty, HeadError::BodyLength { index: 0, found: 0, .. }), "{empty:?}");
        let long = refused(&|bad| bad[90] = 0xFF);
        assert!(matches!(long, HeadError::BodyLength { index: 0, .. }), "{long:?}");
        let zeroes = refused(&|bad| bad[92] = 1);
        assert!(matches!(zeroes, HeadError::BodyLength { index: 1, max: 0, .. }), "{zeroes:?}");
        assert!(matches!(refused(&|bad| bad[96] ^= 1), HeadError::FileLength { .. }));
        assert!(matches!(refused(&|bad| bad.truncate(50)), HeadError::Length { .. }));
        assert!(matches!(refused(&|bad| bad.push(0)), HeadError::Length { .. }));
    }

    proptest! {
        #[test]
        fn arbitrary_heads_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..128),
            file_len: u64,
        ) {
            let _ = Head::parse(&bytes, file_len);
            let mut known = MAGIC.to_vec();
            known.extend(bytes);
            let _ = Head::parse(&known, file_len);
        }

        /// Whatever is accepted fills the file and makes the image once.
        #[test]
        fn an_accepted_head_is_consistent(at in 0usize..100, byte: u8) {
            let mut bytes = good();
            bytes[at] = byte;
            if let Ok(head) = Head::parse(&bytes, file_len()) {
                let parts: Vec<_> = (0..head.segments()).map(|i| head.part(i).unwrap()).collect();
                prop_assert_eq!(parts[0].body.start, bytes.len() as u64);
                prop_assert_eq!(parts.last().unwrap().body.end, file_len());
                prop_assert_eq!(parts.last().unwrap().segment.end, head.to_size);
                for pair in parts.windows(2) {
                    prop_assert_eq!(pair[0].body.end, pair[1].body.start);
                    prop_assert_eq!(pair[0].segment.end, pair[1].segment.start);
                }
            }
        }
    }
}
