//! The streams of a repacked segment: those of its parts one behind the other, kind by kind.

use super::super::patch::{Step, step_streams};
use super::super::varint;

/// How many streams a part has.
pub(super) const STREAMS: usize = 5;

/// A part as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedPart {
    /// Adjustment, control, difference, packing and new bytes.
    streams: [Vec<u8>; STREAMS],
}

impl PackedPart {
    /// What makes `content` from the adjusted `source` by these steps, and how it is packed.
    pub fn new(
        adjust: Vec<u8>,
        (steps, source, content): (&[Step], &[u8], &[u8]),
        packing: Packing,
    ) -> Self {
        let [control, difference, fresh] = step_streams(steps, source, content);
        Self { streams: [adjust, control, difference, packing.bytes, fresh] }
    }
}

/// What becomes of a part's content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packing {
    bytes: Vec<u8>,
}

impl Packing {
    /// Leaves `skip` bytes out, and writes the next `len` as they are, or by the codec of a number;
    /// then a fix-up is added for each of its blocks.
    pub fn push(&mut self, skip: usize, codec: u64, len: usize) {
        for number in [skip as u64, codec, len as u64] {
            varint::put(number, &mut self.bytes);
        }
    }

    /// What makes the next block.
    pub fn fix_up(&mut self, fix_up: &[u8]) {
        self.bytes.extend(fix_up);
    }

    /// Leaves out what is left, if anything is.
    pub fn end(&mut self, skip: usize) {
        if skip > 0 {
            varint::put(skip as u64, &mut self.bytes);
        }
    }
}

/// The streams of these parts, whose first block begins `lead` bytes before the segment.
pub fn encode_streams(lead: usize, parts: &[PackedPart]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put(lead as u64, &mut out);
    varint::put(parts.len() as u64, &mut out);
    for stream in parts.iter().flat_map(|part| &part.streams) {
        varint::put(stream.len() as u64, &mut out);
    }
    for kind in 0..STREAMS {
        for part in parts {
            out.extend(&part.streams[kind]);
        }
    }
    out
}
