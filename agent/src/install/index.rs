//! What a stage knows of an image before it writes: the tree, where the frames
//! are, and the partitions. All of it is checked, or refused, here.

use payload_tools::format::Image;
use payload_tools::format::seekable::{SeekTable, segment_count, segment_range, tail_len};
use payload_tools::tree::{Levels, Shape};

use super::checked::Partition;
use super::error::{InstallError, Place};
use super::progress::Meter;
use super::source::PayloadSource;

/// An image, ready to be written.
pub(super) struct Indexed<'a> {
    pub image: &'a Image,
    pub levels: Levels,
    pub table: SeekTable,
    pub target: Partition<'a>,
    pub booted: Option<Partition<'a>>,
}

impl<'a> Indexed<'a> {
    /// Fetches the tree and the seek table.
    pub fn fetch(
        image: &'a Image,
        target: Partition<'a>,
        booted: Option<Partition<'a>>,
        source: &dyn PayloadSource,
        meter: &Meter<'_>,
    ) -> Result<Self, InstallError> {
        let role = image.role;
        let shape = Shape::of(image.size)
            .map_err(|source| InstallError::Levels { role, source: source.into() })?;
        let index = |source| InstallError::Index { role, source };
        let levels = source.levels(image, shape.levels_size()).map_err(index)?;
        let tail = source.tail(image, tail_len(image.size)).map_err(index)?;
        meter.count_fetched((levels.len() + tail.bytes.len()) as u64);
        let levels = Levels::verify(image, levels)
            .map_err(|source| InstallError::Levels { role, source })?;
        let table = SeekTable::parse(&tail.bytes, image.size, tail.total)
            .map_err(|source| InstallError::SeekTable { role, source })?;
        Ok(Indexed { image, levels, table, target, booted })
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

/// Counts a segment as done, unless the watcher wants an end.
pub(super) fn advance(meter: &Meter<'_>, bytes: usize) -> Result<(), InstallError> {
    if meter.advance(bytes as u64).is_continue() {
        return Ok(());
    }
    let report = meter.report();
    Err(InstallError::Cancelled { bytes_done: report.bytes_done, bytes_total: report.bytes_total })
}
