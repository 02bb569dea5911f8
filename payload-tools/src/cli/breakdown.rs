use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::unpacked::{is_release, unpacked};
use super::{Failure, Output, refuse_absent};
use crate::bundle::{Bundle, BundleError};
use crate::delta::{
    Breakdown, BreakdownError, ClassShare, FileClass, FileShare, Padded, UnpackError, breakdown,
};
use crate::format::Hash;
use crate::format::delta::Head;
use crate::{ReadAt, workers};

/// What `payload inspect` can be told of a delta.
#[derive(Debug, Args)]
pub(super) struct BreakdownArgs {
    /// Image that a delta makes, or release with it: tells what the delta spends on which files.
    ///
    /// They are read from ext4 and erofs with blocks of 4 KiB and from squashfs with zstd; of a kernel
    /// image (UKI) sections are named. A segment of the delta makes up to 4 MiB, mostly of several
    /// files. It is compressed again, file behind file: of a patch its numbers, differences and new
    /// bytes. Its bytes are divided in proportion to what comes out for each file, so that all adds up
    /// to the delta. Where compressed blocks of the image are unpacked and packed again that is an
    /// estimate, by the bytes of each file's blocks that OLD does not have.
    #[arg(long, value_name = "NEW")]
    image: Option<PathBuf>,
    /// Image that the delta is made of, or release with it: what the delta makes is compared with NEW.
    #[arg(long, value_name = "OLD", requires = "image")]
    old: Option<PathBuf>,
    /// Files to name, the most expensive first.
    #[arg(long, value_name = "COUNT", default_value_t = 20, requires = "image")]
    top: usize,
}

/// What a delta spends, and on which files most.
#[derive(Debug, Serialize)]
pub(super) struct Spent {
    #[serde(flatten)]
    breakdown: Breakdown,
    /// Files that take bytes of the delta, of which the first are named.
    files_count: usize,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SpentError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{} has no image with the tree root {root}, which the delta is of", path.display())]
    NoImage { path: PathBuf, root: Hash },
    #[error(transparent)]
    Release(#[from] BundleError),
    #[error("cannot unpack the payload of the image in {}", path.display())]
    Unpack { path: PathBuf, source: UnpackError },
    #[error(transparent)]
    Breakdown(#[from] BreakdownError),
}

impl BreakdownArgs {
    /// Whether something was said of a delta.
    pub fn is_of_delta(&self) -> bool {
        self.image.is_some()
    }

    pub fn refuse_absent(&self) -> Result<(), Failure> {
        self.image.iter().chain(&self.old).try_for_each(|path| refuse_absent(path))
    }

    /// What a delta spends, where the new image is at hand.
    pub fn look(
        &self,
        delta: &fs_err::File,
        head: &Head,
        output: &Output,
    ) -> Result<Option<Spent>, SpentError> {
        let Some(new) = &self.image else { return Ok(None) };
        let new = open(new, &head.to_root, output)?;
        let old = self.old.as_ref().map(|old| open(old, &head.from_root, output)).transpose()?;
        let old = old.as_ref().map(|(old, size)| (old.as_ref(), *size));
        let bar = output.bytes_bar("weighing", head.to_size);
        let threads = workers::every_core();
        let advance = |bytes| bar.inc(bytes);
        let spent = breakdown((delta, head), (new.0.as_ref(), new.1), old, threads, &advance);
        bar.finish_and_clear();
        let mut breakdown = spent?;
        let files_count = breakdown.files.len();
        breakdown.files.truncate(self.top);
        Ok(Some(Spent { breakdown, files_count }))
    }
}

/// The image with this root of a release, unpacked, or the image that the file is.
fn open(path: &Path, root: &Hash, output: &Output) -> Result<(Box<dyn ReadAt>, u64), SpentError> {
    if !is_release(path)? {
        let image = Padded::new(fs_err::File::open(path)?)?;
        let size = image.size();
        return Ok((Box::new(image), size));
    }
    let release = Bundle::open(path)?;
    let manifest = release.manifest()?;
    let image = manifest.images.iter().find(|image| image.root == *root);
    let image = image.ok_or_else(|| SpentError::NoImage { path: path.to_owned(), root: *root })?;
    let file = unpacked(&release, image, &std::env::temp_dir(), workers::every_core(), output);
    let file = file.map_err(|source| SpentError::Unpack { path: path.to_owned(), source })?;
    Ok((Box::new(file), image.size))
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Breakdown { head, classes, files, guessed } = &self.breakdown;
        writeln!(f, "  of these, by what they are spent on:")?;
        writeln!(f, "  {head:>12} bytes for the delta's own head")?;
        for (class, ClassShare { files, image_bytes, bytes }) in classes {
            write!(f, "  {bytes:>12} bytes make {image_bytes:>12}, ")?;
            match class {
                FileClass::Metadata => writeln!(f, "{}", class.in_words())?,
                _ => writeln!(f, "files: {files:>8}, {}", class.in_words())?,
            }
        }
        if classes.keys().all(|class| *class == FileClass::Metadata) {
            writeln!(
                f,
                "  no files are known of the image: it is no file system that is known, and no kernel image"
            )?;
        } else if !files.is_empty() {
            let (named, all) = (files.len(), self.files_count);
            writeln!(f, "  the most expensive files, {named} of {all}:")?;
        }
        for FileShare { path, image_bytes, bytes, .. } in files {
            writeln!(f, "  {bytes:>12} bytes make {image_bytes:>12}, {}", printable(path))?;
        }
        if *guessed > 0 {
            writeln!(f, "  segments of which --old would tell more exactly: {guessed}")?;
        }
        Ok(())
    }
}

/// A name from an image, without what a terminal would obey.
fn printable(path: &str) -> String {
    let mut printable = String::with_capacity(path.len());
    for char in path.chars() {
        match char.is_control() {
            true => printable.extend(char.escape_default()),
            false => printable.push(char),
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_moves_the_cursor() {
        assert_eq!(printable("etc/\u{1b}[2Jé\n"), "etc/\\u{1b}[2Jé\\n");
    }
}
