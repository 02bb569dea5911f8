//! Reading the slot back from the medium and holding it against the tree.

use std::sync::Mutex;

use payload_tools::format::{GROUP, Role};
use payload_tools::tree::GroupMismatch;

use super::crew;
use super::error::{InstallError, Place};
use super::head::KernelHead;
use super::index::{Indexed, advance};
use super::progress::Meter;
use super::wanted::groups_of;
use crate::poison::{into_inner, lock};

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

/// Reads the image from its partition, all of it; what lies behind it in the
/// partition is nobody's. The groups recompute the signed root because the
/// levels above them were chained to it.
pub(super) fn read_back(
    indexed: &Indexed<'_>,
    head: &KernelHead,
    meter: &Meter<'_>,
) -> Result<Vec<Finding>, InstallError> {
    let findings = Mutex::new(Vec::new());
    crew::each_segment(indexed.segments(), |segment, buffer| {
        let place = indexed.place(segment, meter);
        let read = |source| InstallError::Read { place, source };
        let first = groups_of(segment).start;
        let bytes = &mut buffer.bytes_mut()[..indexed.segment_len(segment)];
        indexed.target.read(first * GROUP as u64, bytes).map_err(read)?;
        if indexed.image.role == Role::Kernel && segment == 0 {
            head.complete(bytes).map_err(read)?;
        }
        for (group, data) in (first..).zip(bytes.chunks(GROUP)) {
            if let Err(mismatch) = indexed.levels.check_group(group, data) {
                let finding = Finding { place, group, mismatch };
                lock(&findings).push(finding);
            }
        }
        advance(meter, bytes.len())
    })?;
    Ok(into_inner(findings))
}
