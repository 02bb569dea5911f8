//! Images of releases that verbs read.

use std::io;
use std::num::NonZero;
use std::path::Path;

use super::Output;
use crate::ReadAt as _;
use crate::bundle::{Bundle, is_tar};
use crate::delta::{UnpackError, unpack};
use crate::format::Image;
use crate::verify::Decoding;

/// A folder, or a tar file, as bundles are.
pub(super) fn is_release(path: &Path) -> io::Result<bool> {
    let file = fs_err::File::open(path)?;
    let mut start = [0; 512];
    Ok(file.metadata()?.is_dir() || (file.fill_at(&mut start, 0).is_ok() && is_tar(&start)))
}

/// An image of a release, in a file in `folder` that is gone with the process.
pub(super) fn unpacked(
    release: &Bundle,
    image: &Image,
    folder: &Path,
    threads: NonZero<usize>,
    output: &Output,
) -> Result<std::fs::File, UnpackError> {
    let file = tempfile::tempfile_in(folder).map_err(UnpackError::Room)?;
    let bar = output.bytes_bar("unpacking", image.size);
    let with = (Decoding::Confined, threads);
    let file = unpack(release, image, file, with, &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    file
}
