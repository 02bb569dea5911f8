//! What a delta spends its bytes on: by the files of the image that it makes.

mod class;
mod owners;
mod segment;
mod weigher;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;

use serde::Serialize;

use super::Advance;
use super::repacking::StoredBlocks;
use super::view::View;
use crate::format::delta::{BodyError, DeltaError, Head, head_len};
use crate::format::seekable::FrameError;
use crate::{ReadAt, workers};

pub use class::FileClass;
use owners::{Owner, Owners};
use segment::{SegmentReader, Spent};

/// A delta by what its bytes are for. Head, and classes or files and what is of no file, add up to the
/// delta.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Breakdown {
    /// Bytes of the delta's head.
    pub head: u64,
    /// By class; those without bytes in image and delta are left out.
    pub classes: BTreeMap<FileClass, ClassShare>,
    /// Files that take bytes of the delta, the most expensive first.
    pub files: Vec<FileShare>,
    /// Segments whose old content was wanted and not at hand, so that what is new in them is guessed.
    pub guessed: u64,
}

/// What files of a class take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ClassShare {
    /// How many.
    pub files: u64,
    /// Their bytes in the new image.
    pub image_bytes: u64,
    /// Bytes of the delta.
    pub bytes: u64,
}

/// What a file takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileShare {
    /// From the root of the image; of a kernel image the name of a section.
    pub path: String,
    /// Its class.
    pub class: FileClass,
    /// Its bytes in the new image, whole blocks; what packed blocks take there.
    pub image_bytes: u64,
    /// Bytes of the delta.
    pub bytes: u64,
}

/// A delta that cannot be broken down.
#[derive(Debug, thiserror::Error)]
pub enum BreakdownError {
    /// A file cannot be read.
    #[error("cannot read the {file}")]
    Read {
        /// Which.
        file: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An image has another size than the delta says.
    #[error("the {image} image has {found} bytes, and the delta is for one of {wanted}")]
    Size {
        /// Old or new.
        image: &'static str,
        /// Its bytes.
        found: u64,
        /// Bytes stated.
        wanted: u64,
    },
    /// A body is refused.
    #[error("segment {index} of the delta is damaged")]
    Body {
        /// Index of the segment.
        index: u64,
        /// Why.
        source: BodyError,
    },
    /// A segment is made of another source than the image has.
    #[error("segment {index} is made of other content than the old image has there")]
    OtherOld {
        /// Index of the segment.
        index: u64,
    },
    /// A segment cannot be made.
    #[error("segment {index} of the delta is damaged")]
    Make {
        /// Index of the segment.
        index: u64,
        /// Why.
        source: DeltaError,
    },
    /// A segment is another than the image has.
    #[error("segment {index} of the delta makes other bytes than the new image has")]
    OtherNew {
        /// Index of the segment.
        index: u64,
    },
    /// There is no memory for a decoder.
    #[error("cannot make a decoder")]
    Decoder(#[source] DeltaError),
    /// zstd failed.
    #[error("cannot weigh what a delta is made of")]
    Zstd(#[from] FrameError),
}

/// An image and how many bytes it has.
pub type SizedImage<'a> = (&'a dyn ReadAt, u64);

/// Tells what the delta with this head spends on each file of `new`.
///
/// A segment's bytes are divided among its files by what each adds when the segment is compressed again,
/// file behind file: of a patch its numbers, differences and new bytes. Where blocks are packed anew that
/// is an estimate: how much each file has in blocks that the old image does not have. With the old image
/// every segment is made and compared with the new one; without, those that need it are believed.
pub fn breakdown(
    (delta, head): (&dyn ReadAt, &Head),
    new: SizedImage<'_>,
    old: Option<SizedImage<'_>>,
    threads: NonZero<usize>,
    advance: &Advance<'_>,
) -> Result<Breakdown, BreakdownError> {
    let sizes = [("new", Some(new), head.to_size), ("old", old, head.from_size)];
    for (image, sized, wanted) in sizes {
        if let Some((_, found)) = sized.filter(|(_, found)| *found != wanted) {
            return Err(BreakdownError::Size { image, found, wanted });
        }
    }
    let failed = |file| move |source| BreakdownError::Read { file, source };
    let opened = View::open(new.0, new.1, threads);
    let (view, files) = opened.map_err(failed("new image"))?;
    let owners = Owners::of(&view, files, new).map_err(failed("new image"))?;
    let known = match old.filter(|_| view.is_packed()) {
        Some((old, size)) => {
            let blocks = View::open(old, size, threads);
            let blocks = blocks.and_then(|(old_view, _)| StoredBlocks::of(&old_view, old, size));
            blocks.map_err(failed("old image"))?
        }
        None => StoredBlocks::default(),
    };
    let (new, old) = (new.0, old.map(|(old, _)| old));
    let mut sums = Sums::new(&owners);
    let tools = || SegmentReader::new(delta, head, (new, old), (&view, &known));
    let read = |reader: &mut SegmentReader<'_>, index| {
        let spent = reader.read(index, &owners)?;
        advance(spent.parts.iter().map(|part| part.image_bytes).sum());
        Ok(spent)
    };
    let parts = (threads, head.segments());
    workers::in_order(parts, tools, read, |_, spent| {
        sums.add(&spent);
        Ok(())
    })?;
    Ok(sums.finish(head_len(head.to_size), &owners))
}

/// What was seen so far.
struct Sums {
    /// Bytes of image and delta, by owner.
    files: Vec<(u64, u64)>,
    /// Of those without.
    elsewhere: (u64, u64),
    guessed: u64,
}

impl Sums {
    fn new(owners: &Owners) -> Self {
        Self { files: vec![(0, 0); owners.all.len()], elsewhere: (0, 0), guessed: 0 }
    }

    fn add(&mut self, spent: &Spent) {
        self.guessed += u64::from(spent.is_guessed);
        for part in &spent.parts {
            let owner = part.owner.and_then(|owner| self.files.get_mut(owner));
            let (image, delta) = owner.unwrap_or(&mut self.elsewhere);
            *image += part.image_bytes;
            *delta += part.bytes;
        }
    }

    fn finish(self, head: u64, owners: &Owners) -> Breakdown {
        let mut breakdown = Breakdown { head, guessed: self.guessed, ..Breakdown::default() };
        let mut count = |class, files, (image_bytes, bytes): (u64, u64)| {
            let share: &mut ClassShare = breakdown.classes.entry(class).or_default();
            share.files += files;
            share.image_bytes += image_bytes;
            share.bytes += bytes;
        };
        if self.elsewhere != (0, 0) {
            count(FileClass::Metadata, 0, self.elsewhere);
        }
        for (Owner { path, class }, sums) in owners.all.iter().zip(self.files) {
            count(*class, 1, sums);
            let (image_bytes, bytes) = sums;
            if bytes > 0 {
                let (path, class) = (path.clone(), *class);
                breakdown.files.push(FileShare { path, class, image_bytes, bytes });
            }
        }
        breakdown.files.sort_by(|a, b| (b.bytes, &a.path).cmp(&(a.bytes, &b.path)));
        breakdown
    }
}

#[cfg(test)]
mod tests;
