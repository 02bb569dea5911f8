//! What parent and child say to each other over the control socket, one
//! message per packet. The child's half is hostile input to the parent.

use crate::format::delta::{DeltaError, Method, PayloadPlace};
use crate::format::seekable::FrameError;

/// How a segment is made. Zeroes and copies need no decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// A frame.
    Zstd,
    /// A frame that refers to the source.
    Prefix,
    /// A frame of several streams, and following them.
    Patch {
        /// Bytes of the streams together.
        streams_len: u32,
    },
    /// A frame of several streams, which begin a repacked segment.
    Repack {
        /// Bytes of the streams together.
        streams_len: u32,
    },
    /// The next part of a repacked segment; the payload is the streams that are there already.
    Part {
        /// Bytes of the source that are the part's directory, with the codecs before it.
        directory_len: u32,
    },
}

impl Recipe {
    /// `None`: there is nothing to decode.
    pub fn of(method: Method) -> Option<Self> {
        match method {
            Method::Zero | Method::Copy => None,
            Method::Zstd => Some(Recipe::Zstd),
            Method::Prefix => Some(Recipe::Prefix),
            Method::Patch { streams_len } => Some(Recipe::Patch { streams_len }),
            Method::Repack { streams_len } => Some(Recipe::Repack { streams_len }),
        }
    }

    /// How the child makes a whole segment; a part is none.
    pub(super) fn method(self) -> Option<Method> {
        match self {
            Recipe::Zstd => Some(Method::Zstd),
            Recipe::Prefix => Some(Method::Prefix),
            Recipe::Patch { streams_len } => Some(Method::Patch { streams_len }),
            Recipe::Repack { streams_len } => Some(Method::Repack { streams_len }),
            Recipe::Part { .. } => None,
        }
    }

    /// Where the child finds what it is to decode.
    pub(super) fn payload_place(self) -> PayloadPlace {
        self.method().map_or(PayloadPlace::Work, Method::payload_place)
    }
}

/// Make exactly `output_len` bytes of the output buffer from `input_len` bytes of
/// payload and `source_len` bytes of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub recipe: Recipe,
    pub input_len: u32,
    pub source_len: u32,
    pub output_len: u32,
}

impl Request {
    pub const SIZE: usize = 20;

    pub fn encode(self) -> [u8; Self::SIZE] {
        let (recipe, len) = match self.recipe {
            Recipe::Zstd => (0, 0),
            Recipe::Prefix => (1, 0),
            Recipe::Patch { streams_len } => (2, streams_len),
            Recipe::Repack { streams_len } => (3, streams_len),
            Recipe::Part { directory_len } => (4, directory_len),
        };
        let words = [recipe, self.input_len, self.source_len, self.output_len, len];
        let mut bytes = [0; Self::SIZE];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// `None`: not a request; the parent makes none such.
    pub fn decode(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n| bytes[at * 4 + n]));
        let recipe = match word(0) {
            0 => Recipe::Zstd,
            1 => Recipe::Prefix,
            2 => Recipe::Patch { streams_len: word(4) },
            3 => Recipe::Repack { streams_len: word(4) },
            4 => Recipe::Part { directory_len: word(4) },
            _ => return None,
        };
        Some(Request { recipe, input_len: word(1), source_len: word(2), output_len: word(3) })
    }
}

/// Why the child did not make a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The lengths asked for do not fit the shared buffers.
    #[error("the segment is longer than the decoder's buffer")]
    TooLong,
    /// The bytes do not begin with a zstd frame.
    #[error("the segment is not a zstd frame")]
    NotAFrame,
    /// The frame asks for a dictionary or a larger window than a segment.
    #[error("the frame asks for a dictionary or a larger window than a segment")]
    Unbounded,
    /// The frame announces another size than the image's geometry.
    #[error("the frame announces another size than the segment has")]
    WrongContentSize,
    /// The frame ends before the segment's bytes do, or after.
    #[error("the segment is not exactly one zstd frame")]
    NotOneFrame,
    /// zstd refused the frame.
    #[error("the frame is damaged")]
    Damaged,
    /// A patch's steps do not make the segment of their source.
    #[error("the patch does not make the segment")]
    Patch,
    /// A repacked segment's parts cannot be made, or do not make it.
    #[error("the segment cannot be unpacked, patched and packed again")]
    Repack,
}

impl From<DeltaError> for Refusal {
    fn from(error: DeltaError) -> Self {
        match error {
            DeltaError::Frame(error) => error.into(),
            DeltaError::Patch(_) => Refusal::Patch,
            DeltaError::Repack(_) | DeltaError::Codec(_) => Refusal::Repack,
            DeltaError::Length => Refusal::TooLong,
        }
    }
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Magic => Refusal::NotAFrame,
            FrameError::Dictionary | FrameError::Window { .. } => Refusal::Unbounded,
            FrameError::ContentSize { .. } => Refusal::WrongContentSize,
            FrameError::Length => Refusal::NotOneFrame,
            FrameError::Zstd(_) => Refusal::Damaged,
        }
    }
}

/// The child's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Confinement is complete; requests may come.
    Ready,
    Decoded,
    Refused(Refusal),
}

const REPLIES: [(u8, Reply); 10] = [
    (b'r', Reply::Ready),
    (b'd', Reply::Decoded),
    (b'l', Reply::Refused(Refusal::TooLong)),
    (b'n', Reply::Refused(Refusal::NotAFrame)),
    (b's', Reply::Refused(Refusal::WrongContentSize)),
    (b'w', Reply::Refused(Refusal::Unbounded)),
    (b'o', Reply::Refused(Refusal::NotOneFrame)),
    (b'x', Reply::Refused(Refusal::Damaged)),
    (b'p', Reply::Refused(Refusal::Patch)),
    (b'k', Reply::Refused(Refusal::Repack)),
];

impl Reply {
    pub fn encode(self) -> u8 {
        REPLIES.iter().find(|(_, reply)| *reply == self).map_or(b'x', |(byte, _)| *byte)
    }

    /// `None`: not a byte of this protocol, so the child is not to be believed.
    pub fn decode(byte: u8) -> Option<Self> {
        REPLIES.iter().find(|(known, _)| *known == byte).map(|(_, reply)| *reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back() {
        let patch = Recipe::Patch { streams_len: u32::MAX };
        let (repack, part) = (Recipe::Repack { streams_len: 7 }, Recipe::Part { directory_len: 9 });
        for recipe in [Recipe::Zstd, Recipe::Prefix, patch, repack, part] {
            let whole = recipe.method().and_then(Recipe::of);
            assert_eq!(whole, Some(recipe).filter(|recipe| *recipe != part));
            let request = Request { recipe, input_len: 1, source_len: 70_001, output_len: 3 };
            assert_eq!(Request::decode(request.encode()), Some(request));
        }
        assert_eq!(Request::decode([5; Request::SIZE]), None);
    }

    #[test]
    fn every_byte_is_a_reply_that_encodes_to_itself_or_none() {
        let known = (0..=u8::MAX).filter_map(|byte| Some((byte, Reply::decode(byte)?)));
        assert_eq!(known.clone().count(), REPLIES.len());
        for (byte, reply) in known {
            assert_eq!(reply.encode(), byte);
        }
    }
}
