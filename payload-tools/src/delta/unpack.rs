use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt as _;

use super::Advance;
use crate::bundle::{Bundle, BundleError};
use crate::format::Image;
use crate::verify::{Decoding, ExpandError, expand};

/// An image that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The release lacks it, or has it damaged.
    #[error(transparent)]
    Release(#[from] BundleError),
    /// The payload does not hold it.
    #[error(transparent)]
    Payload(#[from] ExpandError),
    /// There is no room for it.
    #[error("cannot make room for the image")]
    Room(#[source] io::Error),
}

impl UnpackError {
    /// Whether the release is not what it claims to be; otherwise the machine could not do it.
    pub fn is_of_release(&self) -> bool {
        match self {
            Self::Release(_) => true,
            Self::Payload(error) => error.is_of_payload(),
            Self::Room(_) => false,
        }
    }
}

/// The image that a release has compressed, checked, in `file`, which is empty.
pub fn unpack(
    release: &Bundle,
    image: &Image,
    file: File,
    (decoding, threads): (Decoding, NonZero<usize>),
    advance: &Advance<'_>,
) -> Result<File, UnpackError> {
    // Groups of zeroes stay holes.
    file.set_len(image.size).map_err(UnpackError::Room)?;
    let full = release.image_full(&image.root)?;
    let table = release.seek_table(image, &full)?;
    let levels = release.levels(image)?;
    expand(&full, &table, &levels, (decoding, threads), &|group| {
        advance(group.bytes().len() as u64);
        match levels.zero_group(group.index()) {
            Some(_) => Ok(()),
            None => file.write_all_at(group.bytes(), group.offset()),
        }
    })?;
    Ok(file)
}
