use std::io::{self, Write};

use super::table::{encode, segment_count};

/// Writes a full payload: frames in the order of the segments, then the table.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    image_size: u64,
    frame_lens: Vec<u32>,
}

impl<W: Write> Writer<W> {
    /// A payload of an image of `image_size` bytes.
    pub fn new(out: W, image_size: u64) -> Self {
        Self { out, image_size, frame_lens: Vec::new() }
    }

    /// Writes the frame of the next segment.
    pub fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        self.out.write_all(frame)?;
        self.frame_lens.push(length);
        Ok(())
    }

    /// Writes the table and gives the output back; fails when segments are missing.
    pub fn finish(mut self) -> io::Result<W> {
        if self.frame_lens.len() as u64 != segment_count(self.image_size) {
            return Err(io::Error::other("the payload does not have a frame for each segment"));
        }
        self.out.write_all(&encode(&self.frame_lens, self.image_size))?;
        self.out.flush()?;
        Ok(self.out)
    }
}
