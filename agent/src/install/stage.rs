//! The order of a stage.

use std::sync::Mutex;

use partition_layout::{Access, DiskFile, SlotLetter};
use payload_tools::fetch_plan::Wanted;
use payload_tools::format::{Hash, Role};

use super::checked::Partition;
use super::costs::{Download, costs};
use super::error::{HeadStep, InstallError};
use super::head::{self, KernelHead};
use super::index::Indexed;
use super::pipeline::write_and_read_back;
use super::plan::{Extent, ImagePlan, StagePlan};
use super::progress::{Meter, Phase, Progress};
use super::read_back::{Finding, ReadBack};
use super::scan::{InBooted, scan};
use super::source::PayloadSource;
use crate::poison::into_inner;

/// That a slot holds both images, read back and whole. Only [`stage`] makes it.
#[derive(Debug)]
pub struct Staged {
    slot: SlotLetter,
    kernel: Hash,
    root: Hash,
    download: Download,
}

impl Staged {
    /// The slot.
    pub fn slot(&self) -> SlotLetter {
        self.slot
    }

    /// Root of the staged kernel's tree.
    pub fn kernel(&self) -> Hash {
        self.kernel
    }

    /// Root of the staged root file system's tree.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// What was fetched of its payloads.
    pub fn download(&self) -> Download {
        self.download
    }
}

/// Writes a release into the target slot and reads it back; `source` is the one
/// that [`prepare`](super::prepare) was given. Blocks for as long
/// as that takes: call it from a thread of its own, in a program that calls
/// [`enter_if_asked`](payload_tools::confined::enter_if_asked) first in `main`.
///
/// # Errors
/// See [`InstallError`]: whichever it is, the target cannot be booted and the
/// booted slot was not touched.
pub fn stage(
    plan: &StagePlan,
    source: &dyn PayloadSource,
    progress: &dyn Progress,
) -> Result<Staged, InstallError> {
    // The plan holds the claims: the disk itself has to be open to whoever runs from it.
    let open = |plan: &ImagePlan| {
        Files::open(plan.image().role, &plan.target, plan.booted.as_ref(), Access::ReadWrite)
    };
    let (kernel, root) = (open(&plan.kernel)?, open(&plan.root)?);
    let slot = Slot {
        kernel: kernel.target(),
        root: root.target(),
        booted_kernel: kernel.booted(),
        booted_root: root.booted(),
    };
    stage_on(plan, &slot, source, progress)
}

/// The opened partitions of one image.
pub(super) struct Files {
    role: Role,
    target: (DiskFile, u64),
    booted: Option<(DiskFile, u64)>,
}

impl Files {
    pub fn open(
        role: Role,
        target: &Extent,
        booted: Option<&Extent>,
        access: Access,
    ) -> Result<Self, InstallError> {
        let open = |extent: &Extent, access| {
            let path = extent.path.clone();
            let file = DiskFile::open_uncached(&path, access);
            let file = file.map_err(|source| InstallError::Open { role, path, source })?;
            Ok::<_, InstallError>((file, extent.offset))
        };
        let booted = booted.map(|extent| open(extent, Access::ReadOnly)).transpose()?;
        Ok(Files { role, target: open(target, access)?, booted })
    }

    pub fn target(&self) -> Partition<'_> {
        let (device, offset) = &self.target;
        Partition { role: self.role, device, offset: *offset }
    }

    pub fn booted(&self) -> Option<Partition<'_>> {
        let (device, offset) = self.booted.as_ref()?;
        Some(Partition { role: self.role, device, offset: *offset })
    }
}

/// The devices of a stage.
pub(super) struct Slot<'d> {
    pub kernel: Partition<'d>,
    pub root: Partition<'d>,
    pub booted_kernel: Option<Partition<'d>>,
    pub booted_root: Option<Partition<'d>>,
}

pub(super) fn stage_on(
    plan: &StagePlan,
    slot: &Slot<'_>,
    source: &dyn PayloadSource,
    progress: &dyn Progress,
) -> Result<Staged, InstallError> {
    for image in [&plan.kernel, &plan.root] {
        fits(image)?;
    }
    let total = plan.kernel.image().size + plan.root.image().size;
    let mut meter = Meter::new(progress, total);
    meter.count_fetched(plan.kernel.index.bytes_fetched() + plan.root.index.bytes_fetched());
    let kernel = Indexed::new(&plan.kernel.index, slot.kernel, slot.booted_kernel);
    let root = Indexed::new(&plan.root.index, slot.root, slot.booted_root);

    head::zero(&kernel.target).map_err(at_head(HeadStep::Zero))?;
    let look = |image| scan(image, plan.content, InBooted::Copied, &meter);
    let scanned = [look(&kernel)?, look(&root)?];
    let costs = costs(&plan.kernel.index, &kernel, &scanned[0])
        + costs(&plan.root.index, &root, &scanned[1]);
    tracing::info!("{costs}");
    let wanted = scanned.map(|scanned| scanned.wanted);
    let head = Mutex::new(None);
    let read = write_and_verify([&kernel, &root], wanted, &head, source, &mut meter)?;

    let head = into_inner(head)
        .ok_or_else(|| at_head(HeadStep::Write)(std::io::ErrorKind::NotFound.into()))?;
    head.write(&kernel.target, &read).map_err(at_head(HeadStep::Write))?;
    head.verify(&kernel.target).map_err(at_head(HeadStep::ReadBack))?;
    Ok(Staged {
        slot: plan.slot,
        kernel: plan.kernel.image().root,
        root: plan.root.image().root,
        download: Download { fetched: meter.report().bytes_fetched, costs },
    })
}

fn at_head(step: HeadStep) -> impl FnOnce(std::io::Error) -> InstallError {
    move |source| InstallError::KernelHead { step, source }
}

fn fits(plan: &ImagePlan) -> Result<(), InstallError> {
    match plan.image().size > plan.target.size {
        true => Err(InstallError::DoesNotFit {
            role: plan.image().role,
            size: plan.image().size,
            room: plan.target.size,
        }),
        false => Ok(()),
    }
}

/// Writes what is wanted and reads everything back; groups that differ are written once more.
fn write_and_verify(
    images: [&Indexed<'_>; 2],
    wanted: [Wanted; 2],
    head: &Mutex<Option<KernelHead>>,
    source: &dyn PayloadSource,
    meter: &mut Meter<'_>,
) -> Result<ReadBack, InstallError> {
    meter.enter(Phase::Writing);
    let findings = write_and_read_back(images, &wanted, head, source, meter)?;
    if findings.is_empty() {
        return ReadBack::conclude(findings);
    }
    tracing::warn!(groups = findings.len(), "the medium gave back other bytes, writing them again");
    let again = images.map(|indexed| {
        let of_image = |finding: &&Finding| finding.place.role == indexed.image.role;
        let groups: Vec<u64> =
            findings.iter().filter(of_image).map(|finding| finding.group).collect();
        Wanted::only(indexed.levels, &groups)
    });
    meter.enter(Phase::Writing);
    ReadBack::conclude(write_and_read_back(images, &again, head, source, meter)?)
}
