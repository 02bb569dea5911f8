//! What a stage knows of an image before it writes: the tree, where the frames
//! are, and the partitions. All of it is checked, or refused, here.

use payload_tools::format::delta::{Head, HeadError, head_len};
use payload_tools::format::seekable::{SeekTable, segment_count, segment_range, tail_len};
use payload_tools::format::{Hash, Image, Role};
use payload_tools::tree::{Levels, Shape};

use super::checked::Partition;
use super::delta::Delta;
use super::error::{InstallError, Place};
use super::progress::{Meter, Phase};
use super::source::{PayloadSource, SourceError};

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
    delta: Option<Head>,
    bytes_fetched: u64,
}

/// A delta that a source is said to have. It is tried, not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaOffer {
    /// Root of the image that it is made of: the booted one, as somebody says.
    pub from: Hash,
    /// Bytes of that image.
    pub from_size: u64,
    /// Root of the image that it makes.
    pub to: Hash,
}

/// Why a delta that was offered is left alone.
#[derive(Debug, thiserror::Error)]
enum UselessDelta {
    #[error("it cannot be fetched")]
    Fetch(#[from] SourceError),
    #[error("it is refused")]
    Head(#[from] HeadError),
}

/// Fetches the trees and seek tables of a release's `images`, and the heads of
/// the deltas to them that are offered and there. No disk is touched.
///
/// # Errors
/// The source does not have trees or tables, or has others than the signed ones.
pub fn prepare(
    images: &[Image],
    deltas: &[DeltaOffer],
    source: &dyn PayloadSource,
) -> Result<Prepared, InstallError> {
    let index = |role: Role| {
        let image = images.iter().find(|image| image.role == role);
        let mut index = ImageIndex::fetch(image.ok_or(InstallError::NoImage(role))?, source)?;
        index.look_for_delta(deltas, source);
        Ok::<_, InstallError>(index)
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
        Ok(ImageIndex { image: image.clone(), levels, table, delta: None, bytes_fetched })
    }

    /// Takes the first delta of those offered that is one to this image.
    fn look_for_delta(&mut self, offers: &[DeltaOffer], source: &dyn PayloadSource) {
        for offer in offers.iter().filter(|offer| offer.to == self.image.root) {
            match fetch_head(&self.image, offer, source) {
                Ok(head) => {
                    self.bytes_fetched += head_len(self.image.size);
                    self.delta = Some(head);
                    return;
                }
                // A server without one is as good as any.
                Err(UselessDelta::Fetch(SourceError::NotFound { .. })) => {}
                Err(useless) => {
                    let (role, why) = (self.image.role, crate::chain(&useless));
                    tracing::warn!("no use is made of a delta of the {role} image: {why}");
                }
            }
        }
    }

    /// The image, out of a verified manifest.
    pub fn image(&self) -> &Image {
        &self.image
    }

    pub(super) fn has_delta(&self) -> bool {
        self.delta.is_some()
    }

    /// Bytes that the source was read for.
    pub(super) fn bytes_fetched(&self) -> u64 {
        self.bytes_fetched
    }
}

fn fetch_head(
    image: &Image,
    offer: &DeltaOffer,
    source: &dyn PayloadSource,
) -> Result<Head, UselessDelta> {
    let start = source.delta_head(image, &offer.from, head_len(image.size))?;
    let head = Head::parse(&start.bytes, start.total)?;
    head.expect(&offer.from, &image.root, image.size)?;
    // What a segment is made of lies within the old image, not behind it on the disk.
    if head.from_size != offer.from_size {
        return Err(HeadError::ImageSize { image: "old", size: head.from_size }.into());
    }
    Ok(head)
}

/// An image, ready to be written.
pub(super) struct Indexed<'a> {
    pub image: &'a Image,
    pub levels: &'a Levels,
    pub table: &'a SeekTable,
    pub delta: Option<Delta<'a>>,
    pub target: Partition<'a>,
    pub booted: Option<Partition<'a>>,
}

impl<'a> Indexed<'a> {
    pub fn new(
        index: &'a ImageIndex,
        target: Partition<'a>,
        booted: Option<Partition<'a>>,
    ) -> Self {
        let ImageIndex { image, levels, table, delta, .. } = index;
        let delta = delta.as_ref().zip(booted).map(|(head, booted)| Delta::new(head, booted));
        Indexed { image, levels, table, delta, target, booted }
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
