//! What need not be fetched: groups that the target has from a cut stage, and
//! groups that the booted slot has.

use std::sync::Mutex;

use payload_tools::format::Role;

use super::checked::CheckedRun;
use super::crew;
use super::error::InstallError;
use super::index::{Indexed, advance};
use super::plan::TargetContent;
use super::progress::{Meter, Phase};
use super::wanted::{Need, Wanted, bytes_in_segment, groups_of};
use crate::poison::{into_inner, lock};

/// Finds what the target needs; groups of the booted slot are copied on the way.
pub(super) fn scan(
    indexed: &Indexed<'_>,
    content: TargetContent,
    meter: &Meter<'_>,
) -> Result<Wanted, InstallError> {
    let all = Wanted::all(indexed.levels);
    if content == TargetContent::Other && indexed.booted.is_none() {
        return Ok(all);
    }
    let wanted = Mutex::new(all.clone());
    crew::each_segment(indexed.segments(), |segment, buffer| {
        let found = find_in_segment(indexed, content, segment, &all, buffer.bytes_mut(), meter)?;
        let mut wanted = lock(&wanted);
        found.into_iter().for_each(|group| wanted.satisfied(group));
        advance(meter, Phase::Scanning, indexed.segment_len(segment))
    })?;
    Ok(into_inner(wanted))
}

fn find_in_segment(
    indexed: &Indexed<'_>,
    content: TargetContent,
    segment: u64,
    all: &Wanted,
    buffer: &mut [u8],
    meter: &Meter<'_>,
) -> Result<Vec<u64>, InstallError> {
    let mut found = Vec::new();
    // The kernel's first group is never whole on the target: its head is zero.
    let is_head = |group| indexed.image.role == Role::Kernel && group == 0;
    let groups = groups_of(segment).filter(|group| *group < indexed.levels.group_count());
    for group in groups.filter(|group| !is_head(*group)) {
        let bytes = bytes_in_segment(segment, &(group..group + 1), indexed.image.size);
        let data = &mut buffer[bytes];
        let offset = indexed.levels.shape().group(group).map_or(0, |range| range.start);
        // A target that cannot be read may still be written, and a booted slot
        // that cannot be read is no reason not to fetch.
        if content == TargetContent::CutStage
            && indexed.target.read(offset, data).is_ok()
            && indexed.levels.check_group(group, data).is_ok()
        {
            found.push(group);
            continue;
        }
        let Some(booted) = indexed.booted.filter(|_| all.need(group) == Need::Fetch) else {
            continue;
        };
        if booted.read(offset, data).is_err() {
            continue;
        }
        if let Ok(run) = CheckedRun::check(indexed.levels, group, data) {
            let place = indexed.place(segment, meter);
            indexed.target.write(&run).map_err(|source| InstallError::Write { place, source })?;
            found.push(group);
        }
    }
    Ok(found)
}
