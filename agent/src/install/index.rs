//! What a stage knows of an image before it writes: the tree, where the frames
//! are, and the partitions. All of it is checked, or refused, here.

use payload_tools::format::seekable::{SeekTable, segment_count, segment_range, tail_len};
use payload_tools::format::{Image, Role};
use payload_tools::tree::{Levels, Shape};

use super::checked::Partition;
use super::error::{InstallError, Place};
use super::progress::{Meter, Phase};
use super::source::PayloadSource;

/// What a source has of a release was fetched and belongs to it. Only [`prepare`]
/// makes one, and no target is made unbootable without it: a source that has
/// not even this would cost the slot that a person could go back to.
#[derive(Debug)]
pub struct Prepared {
    /// The unified kernel image.
    pub kernel: ImageIndex,
    /// The root file system.
    pub root: ImageIndex,
}

/// The tree of an image, chained to its signed root, and where its frames are.
#[derive(Debug)]
pub struct ImageIndex {
    image: Image,
    levels: Levels,
    table: SeekTable,
    bytes_fetched: u64,
}

/// Fetches the trees and seek tables of a release's `images`. No disk is touched.
///
/// # Errors
/// The source does not have them, or has others than the signed ones.
pub fn prepare(images: &[Image], source: &dyn PayloadSource) -> Result<Prepared, InstallError> {
    let index = |role: Role| {
        let image = images.iter().find(|image| image.role == role);
        ImageIndex::fetch(image.ok_or(InstallError::NoImage(role))?, source)
    };
    Ok(Prepared { kernel: index(Role::Kernel)?, root: index(Role::Root)? })
}

impl ImageIndex {
    fn fetch(image: &Image, source: &dyn PayloadSource) -> Result<Self, InstallError> {
        let role = image.role;
        let shape = Shape::of(image.size)
            .map_err(|source| InstallError::Levels { role, source: source.into() })?;
        let index = |source| InstallError::Index { role, source };
        let levels = source.levels(image, shape.levels_size()).map_err(index)?;
        let tail = source.tail(image, tail_len(image.size)).map_err(index)?;
        let bytes_fetched = (levels.len() + tail.bytes.len()) as u64;
        let levels = Levels::verify(image, levels)
            .map_err(|source| InstallError::Levels { role, source })?;
        let table = SeekTable::parse(&tail.bytes, image.size, tail.total)
            .map_err(|source| InstallError::SeekTable { role, source })?;
        Ok(ImageIndex { image: image.clone(), levels, table, bytes_fetched })
    }

    /// The image, out of a verified manifest.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Bytes that the source was read for.
    pub(super) fn bytes_fetched(&self) -> u64 {
        self.bytes_fetched
    }
}

/// An image, ready to be written.
pub(super) struct Indexed<'a> {
    pub image: &'a Image,
    pub levels: &'a Levels,
    pub table: &'a SeekTable,
    pub target: Partition<'a>,
    pub booted: Option<Partition<'a>>,
}

impl<'a> Indexed<'a> {
    pub fn new(
        index: &'a ImageIndex,
        target: Partition<'a>,
        booted: Option<Partition<'a>>,
    ) -> Self {
        let ImageIndex { image, levels, table, .. } = index;
        Indexed { image, levels, table, target, booted }
    }

    pub fn segments(&self) -> u64 {
        segment_count(self.image.size)
    }

    /// Bytes of the image in a segment.
    pub fn segment_len(&self, segment: u64) -> usize {
        let range = segment_range(self.image.size, segment);
        // At most SEGMENT.
        (range.end - range.start) as usize
    }

    pub fn place(&self, segment: u64, meter: &Meter<'_>) -> Place {
        let report = meter.report();
        Place {
            role: self.image.role,
            segment,
            bytes_done: report.bytes_done,
            bytes_total: report.bytes_total,
        }
    }
}

/// Counts a segment as done in a phase, unless the watcher wants an end.
pub(super) fn advance(meter: &Meter<'_>, phase: Phase, bytes: usize) -> Result<(), InstallError> {
    if meter.advance(phase, bytes as u64).is_continue() {
        return Ok(());
    }
    let report = meter.report();
    Err(InstallError::Cancelled { bytes_done: report.bytes_done, bytes_total: report.bytes_total })
}
