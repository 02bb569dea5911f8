//! What parent and child say to each other over the control socket, one
//! message per packet. The child's half is hostile input to the parent.

use payload_tools::format::seekable::FrameError;

/// Decode `input_len` bytes of the input buffer into exactly `output_len`
/// bytes of the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub input_len: u32,
    pub output_len: u32,
}

impl Request {
    pub const SIZE: usize = 8;

    pub fn encode(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.input_len.to_le_bytes());
        bytes[4..].copy_from_slice(&self.output_len.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: [u8; Self::SIZE]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Request {
            input_len: u32::from_le_bytes([a, b, c, d]),
            output_len: u32::from_le_bytes([e, f, g, h]),
        }
    }
}

/// Why the child did not decode a frame.
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

const REPLIES: [(u8, Reply); 8] = [
    (b'r', Reply::Ready),
    (b'd', Reply::Decoded),
    (b'l', Reply::Refused(Refusal::TooLong)),
    (b'n', Reply::Refused(Refusal::NotAFrame)),
    (b's', Reply::Refused(Refusal::WrongContentSize)),
    (b'w', Reply::Refused(Refusal::Unbounded)),
    (b'o', Reply::Refused(Refusal::NotOneFrame)),
    (b'x', Reply::Refused(Refusal::Damaged)),
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
    fn every_byte_is_a_reply_that_encodes_to_itself_or_none() {
        let known = (0..=u8::MAX).filter_map(|byte| Some((byte, Reply::decode(byte)?)));
        assert_eq!(known.clone().count(), REPLIES.len());
        for (byte, reply) in known {
            assert_eq!(reply.encode(), byte);
        }
    }
}
