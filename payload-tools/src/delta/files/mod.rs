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
    /// Bytes in the image, in the file's order, whole blocks, neighbouring ones
    /// merged; the last block may be longer than the file.
    pub ranges: Vec<Range<u64>>,
}

impl ImageFile {
    /// Whether blocks of zeroes of it lie nowhere in the image.
    pub fn has_holes(&self) -> bool {
        let lying: u64 = self.ranges.iter().map(|range| range.end - range.start).sum();
        lying < self.len
    }
}

/// The regular files of an image, in the order in which they lie there, empty
/// ones first; none where it is no file system that is known or where its
/// structures do not hold. Of a file with several paths the first in byte order.
pub(in crate::delta) fn files(image: &dyn ReadAt, size: u64) -> io::Result<Vec<ImageFile>> {
    let mut files = files_with_holes(image, size)?;
    files.retain(|file| !file.has_holes());
    Ok(files)
}

/// The same, and the files with holes: their ranges are what lies in the image,
/// one after the other. `mke2fs -d` makes a hole of every block of zeroes, so that
/// many programs and kernel modules have some.
pub(in crate::delta) fn files_with_holes(
    image: &dyn ReadAt,
    size: u64,
) -> io::Result<Vec<ImageFile>> {
    let mut files = match ext4::files(image, size, ext4::NAMES_MAX) {
        Ok(files) => files,
        Err(ext4::Flaw::Damaged) => Vec::new(),
        Err(ext4::Flaw::Io(error)) => return Err(error),
    };
    let place = |file: &ImageFile| file.ranges.first().map(|range| range.start);
    files.sort_by(|a, b| (place(a), &a.path).cmp(&(place(b), &b.path)));
    Ok(files)
}

#[cfg(test)]
mod tests;
