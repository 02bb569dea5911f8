//! Reading the slot back from the medium and holding it against the tree.

use std::io;
use std::sync::Mutex;

use partition_layout::AlignedBuf;
use payload_tools::fetch_plan::groups_of;
use payload_tools::format::{GROUP, Role};
use payload_tools::tree::GroupMismatch;

use super::error::{InstallError, Place};
use super::head::KernelHead;
use super::index::Indexed;
use super::progress::Meter;
use crate::poison::lock;

/// That every group of both images came back from the medium, after a flush,
/// as the signed root has it.
pub(super) struct ReadBack(());

impl ReadBack {
    /// Concludes from the findings of all images.
    pub fn conclude(findings: Vec<Finding>) -> Result<Self, InstallError> {
        match findings.into_iter().next() {
            Some(Finding { place, mismatch, .. }) => {
                Err(InstallError::ReadBack { place, source: mismatch })
            }
            None => Ok(ReadBack(())),
        }
    }
}

/// A group that came back differently.
pub(super) struct Finding {
    pub place: Place,
    pub group: u64,
    pub mismatch: GroupMismatch,
}

/// So many groups, 2 MiB, are read at once.
const READ_TOGETHER: usize = 4;

/// Reads a segment from its partition into `buffer`: what of it is not what the tree says. The
/// groups recompute the signed root because the levels above them were chained to it. What lies
/// behind the image in the partition is nobody's.
pub(super) fn read_back_segment(
    indexed: &Indexed<'_>,
    segment: u64,
    head: &Mutex<Option<KernelHead>>,
    buffer: &mut AlignedBuf,
    meter: &Meter<'_>,
) -> Result<Vec<Finding>, InstallError> {
    let place = indexed.place(segment, meter);
    let read = |source| InstallError::Read { place, source };
    let mut findings = Vec::new();
    let size = indexed.segment_len(segment);
    for start in (0..size).step_by(READ_TOGETHER * GROUP) {
        let first = groups_of(segment).start + (start / GROUP) as u64;
        let bytes = &mut buffer.bytes_mut()[..(size - start).min(READ_TOGETHER * GROUP)];
        indexed.target.read(first * GROUP as u64, bytes).map_err(read)?;
        if indexed.image.role == Role::Kernel && first == 0 {
            match &*lock(head) {
                Some(head) => head.complete(bytes).map_err(read)?,
                None => {
                    return Err(read(io::Error::other("the kernel's first block was not kept")));
                }
            }
        }
        let differs = |(group, data)| {
            let mismatch = indexed.levels.check_group(group, data).err()?;
            Some(Finding { place, group, mismatch })
        };
        findings.extend((first..).zip(bytes.chunks(GROUP)).filter_map(differs));
    }
    Ok(findings)
}
