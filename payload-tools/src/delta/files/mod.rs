//! The files of an image, where their bytes lie, and which file of an old image
//! one of a new image continues.

mod ext4;
pub(in crate::delta) mod pairs;

use std::io;
use std::ops::Range;

use crate::ReadAt;

/// A regular file of an image, and where its bytes lie there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delta) struct ImageFile {
    /// From the root of the image, without a slash before it.
    pub path: Vec<u8>,
    /// Bytes of the file.
    pub len: u64,
    /// Its whole blocks, in its order, neighbouring ones merged. What lies in none of them is
    /// zeroes: `mke2fs -d` makes a hole of every block of zeroes, so that many programs and kernel
    /// modules have some. The last block may be longer than the file.
    pub pieces: Vec<Piece>,
}

/// Bytes of a file that lie one behind the other in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delta) struct Piece {
    /// Where they begin in the file.
    pub at: u64,
    /// Where they lie in the image.
    pub image: Range<u64>,
}

impl Piece {
    /// Where they end in the file.
    pub fn end(&self) -> u64 {
        self.at + (self.image.end - self.image.start)
    }
}

/// The regular files of an image, in the order in which they lie there, empty
/// ones first; none where it is no file system that is known or where its
/// structures do not hold. Of a file with several paths the first in byte order.
pub(in crate::delta) fn files(image: &dyn ReadAt, size: u64) -> io::Result<Vec<ImageFile>> {
    let mut files = match ext4::files(image, size, ext4::NAMES_MAX) {
        Ok(files) => files,
        Err(ext4::Flaw::Damaged) => Vec::new(),
        Err(ext4::Flaw::Io(error)) => return Err(error),
    };
    let place = |file: &ImageFile| file.pieces.first().map(|piece| piece.image.start);
    files.sort_by(|a, b| (place(a), &a.path).cmp(&(place(b), &b.path)));
    Ok(files)
}

#[cfg(test)]
mod tests;
