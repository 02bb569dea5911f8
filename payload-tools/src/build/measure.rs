use std::io::{self, Write};

use super::encode::{EncodeError, Encoding, Job};
use crate::ReadAt;
use crate::format::BLOCK;
use crate::format::seekable::tail_len;
use crate::tree::Tree;

/// A full payload of which only the measures were kept.
#[derive(Debug)]
pub struct Measured {
    /// The image's tree.
    pub tree: Tree,
    /// Bytes of the image, whole blocks.
    pub image_size: u64,
    /// Bytes of the payload.
    pub full_size: u64,
    /// Its seek table.
    pub tail: Vec<u8>,
}

/// Makes the full payload of an image of so many bytes, and keeps nothing of it but its measures.
pub fn measure(
    (source, len): (&dyn ReadAt, u64),
    encoding: &Encoding,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Measured, EncodeError> {
    let size = len.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX);
    // Whoever asks for too large an image is refused before its table would be kept.
    let mut tail = Tail { kept: Vec::new(), max: tail_len(size) as usize, total: 0 };
    let job = Job { source, len, encoding, progress };
    let (tree, image_size) = job.run(&mut tail)?;
    Ok(Measured { tree, image_size, full_size: tail.total, tail: tail.kept })
}

/// Keeps the last bytes of what is written.
struct Tail {
    kept: Vec<u8>,
    max: usize,
    total: u64,
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let last = &bytes[bytes.len().saturating_sub(self.max)..];
        let surplus = (self.kept.len() + last.len()).saturating_sub(self.max);
        self.kept.drain(..surplus);
        self.kept.extend(last);
        self.total += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
