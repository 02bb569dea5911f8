//! What is to be staged, and where.

use std::path::PathBuf;

use partition_layout::{DiskFile, Durable, SlotLetter};
use payload_tools::format::Image;

use super::index::ImageIndex;

/// One image and the partitions it concerns.
#[derive(Debug)]
pub struct ImagePlan {
    /// The image, and what was fetched of it.
    pub index: ImageIndex,
    /// The partition of the target slot.
    pub target: Extent,
    /// The same partition of the booted slot: groups that it has are copied
    /// from there instead of fetched. `None`: time is dearer than bytes.
    pub booted: Option<Extent>,
}

impl ImagePlan {
    pub(super) fn image(&self) -> &Image {
        self.index.image()
    }
}

/// The partitions that one image concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageExtents {
    /// Where it goes.
    pub target: Extent,
    /// The same partition of the booted slot.
    pub booted: Extent,
}

/// A range of a block device or image file, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The partition's node, or the whole disk, or an image file of a disk.
    pub path: PathBuf,
    /// Where in `path` the partition begins; 0 for the partition's own node.
    pub offset: u64,
    /// Length of the partition.
    pub size: u64,
}

/// Whether the target may hold parts of the images already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetContent {
    /// Something else: everything is written.
    Other,
    /// What a cut stage of this release left: what matches the tree is kept.
    CutStage,
}

/// What [`stage`](super::stage) is to do.
#[derive(Debug)]
pub struct StagePlan {
    /// The target.
    pub slot: SlotLetter,
    /// The unified kernel image; its first block is written last of all.
    pub kernel: ImagePlan,
    /// The root file system.
    pub root: ImagePlan,
    /// What is in the target now.
    pub content: TargetContent,
    /// That both table copies say so: the target cannot be started.
    pub unbootable: Durable,
    /// The target's partitions, claimed: nobody mounts one while it is written. None where `path`
    /// is claimed or a file.
    pub claims: Vec<DiskFile>,
}
