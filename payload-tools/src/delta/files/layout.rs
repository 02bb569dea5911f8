//! Where an image holds compressed blocks, and what of them is files.

use std::ops::Range;

use crate::format::delta::codec::Codec;

/// What a file system of compressed blocks consists of, as its structures say. Nothing of it is
/// believed without being looked at: a block that does not decode to its content is bytes like others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::delta) struct Layout {
    /// In the order in which they lie in the image; no two share a byte.
    pub runs: Vec<Run>,
    /// Regular files with any content, of one with several paths the first in byte order.
    pub files: Vec<LaidFile>,
    /// What the file system says of files and directories, each under their path: where an inode lies
    /// with what belongs to it, and under the path with a slash behind it the names of a directory.
    pub records: Vec<LaidFile>,
}

/// Blocks that lie one behind the other in the image, and whose contents are one behind the other too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delta) struct Run {
    pub codec: Codec,
    /// Where the first block begins in the image.
    pub start: u64,
    /// At least one.
    pub blocks: Vec<Block>,
}

/// A block of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delta) struct Block {
    /// Bytes that it takes in the image.
    pub stored: u32,
    /// Bytes of its content.
    pub content: u32,
    /// Its content is compressed; otherwise it is stored as it is, with zeroes behind it if it is shorter.
    pub coded: bool,
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delta) struct LaidFile {
    /// From the root of the image, without a slash before it.
    pub path: Vec<u8>,
    /// Bytes of the file.
    pub len: u64,
    /// In its order; what lies in none of them is zeroes.
    pub pieces: Vec<LaidPiece>,
}

/// Some bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delta) struct LaidPiece {
    /// Where they begin in the file.
    pub at: u64,
    pub lie: Lie,
}

/// Where bytes of a file lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delta) enum Lie {
    /// In the content of a run, by its index.
    Run { index: usize, content: Range<u64> },
    /// In the image as they are.
    Image(Range<u64>),
}

impl Run {
    /// Bytes that it takes in the image.
    pub fn stored_len(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.stored)).sum()
    }

    /// Bytes of its content.
    pub fn content_len(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.content)).sum()
    }
}
