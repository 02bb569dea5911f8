//! What need not be fetched: groups that the target has from a cut stage, and
//! groups that the booted slot has.

use std::sync::Mutex;

use payload_tools::fetch_plan::{Need, Wanted, bytes_in_segment, groups_of, may_lie_in_a_slot};

use super::checked::CheckedRun;
use super::crew;
use super::error::InstallError;
use super::index::{Indexed, advance};
use super::plan::TargetContent;
use super::progress::{Meter, Phase};
use crate::poison::{into_inner, lock};

/// What becomes of groups that only the booted slot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InBooted {
    /// They are copied to the target.
    Copied,
    /// They are noted, and nothing is written.
    Noted,
}

/// What an image still needs.
pub(super) struct Scanned {
    /// Beside what the target has.
    pub target: Wanted,
    /// Beside what the booted slot has too.
    pub wanted: Wanted,
}

/// A group that need not be fetched.
enum Found {
    InTarget(u64),
    InBooted(u64),
}

/// Finds what the target needs.
pub(super) fn scan(
    indexed: &Indexed<'_>,
    content: TargetContent,
    in_booted: InBooted,
    meter: &Meter<'_>,
) -> Result<Scanned, InstallError> {
    let all = Wanted::all(indexed.levels);
    let scanned = Mutex::new(Scanned { target: all.clone(), wanted: all.clone() });
    if content == TargetContent::Other && indexed.booted.is_none() {
        return Ok(into_inner(scanned));
    }
    let look = Look { indexed, content, in_booted, all: &all, meter };
    crew::each_segment(indexed.segments(), |segment, buffer| {
        let found = look.find_in_segment(segment, buffer.bytes_mut())?;
        let mut scanned = lock(&scanned);
        for found in found {
            let (Found::InTarget(group) | Found::InBooted(group)) = found;
            scanned.wanted.satisfied(group);
            if let Found::InTarget(group) = found {
                scanned.target.satisfied(group);
            }
        }
        advance(meter, Phase::Scanning, indexed.segment_len(segment))
    })?;
    Ok(into_inner(scanned))
}

struct Look<'a> {
    indexed: &'a Indexed<'a>,
    content: TargetContent,
    in_booted: InBooted,
    all: &'a Wanted,
    meter: &'a Meter<'a>,
}

impl Look<'_> {
    fn find_in_segment(&self, segment: u64, buffer: &mut [u8]) -> Result<Vec<Found>, InstallError> {
        let Look { indexed, content, in_booted, all, meter } = *self;
        let mut found = Vec::new();
        let groups = groups_of(segment).filter(|group| *group < indexed.levels.group_count());
        let is_head = |group| !may_lie_in_a_slot(indexed.image.role, group);
        // A segment of which one group is to be fetched is fetched as a whole: then it is no use to
        // look what else the booted slot has of it.
        let mut is_fetched = groups.clone().any(is_head);
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
                found.push(Found::InTarget(group));
                continue;
            }
            if is_fetched || all.need(group) != Need::Fetch {
                continue;
            }
            let read = indexed.booted.is_some_and(|booted| booted.read(offset, data).is_ok());
            let run = read.then(|| CheckedRun::check(indexed.levels, group, data).ok());
            let Some(run) = run.flatten() else {
                is_fetched = true;
                continue;
            };
            if in_booted == InBooted::Copied {
                let place = indexed.place(segment, meter);
                let written = indexed.target.write(&run);
                written.map_err(|source| InstallError::Write { place, source })?;
            }
            found.push(Found::InBooted(group));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use partition_layout::BlockDevice as _;
    use partition_layout::testing::MemoryDisk;
    use payload_tools::format::{GROUP, Role};

    use super::super::checked::Partition;
    use super::super::tests::fixture::TestRelease;
    use super::*;

    /// A booted slot in which one group of a segment of three is another.
    #[test]
    fn a_segment_is_looked_through_until_something_of_it_is_to_be_fetched() {
        use Need::{Fetch, Nothing};
        let release = TestRelease::tiny(1);
        let (prepared, mut bytes) = (release.prepared(), release.root.bytes.clone());
        let nothing = MemoryDisk::new(1 << 22, 4096);
        for (changed, expected) in [
            (0, [Fetch, Fetch, Fetch]),
            (1, [Nothing, Fetch, Fetch]),
            (2, [Nothing, Nothing, Fetch]),
        ] {
            bytes[changed * GROUP] ^= 1;
            let booted = MemoryDisk::new(1 << 22, 4096);
            booted.write_at(0, &bytes).unwrap();
            bytes[changed * GROUP] ^= 1;
            let partition = |device| Partition { role: Role::Root, device, offset: 0 };
            let indexed =
                Indexed::new(&prepared.root, partition(&nothing), Some(partition(&booted)));
            let meter = Meter::new(&(), indexed.image.size);
            let scanned = scan(&indexed, TargetContent::Other, InBooted::Noted, &meter).unwrap();
            assert_eq!([0, 1, 2].map(|group| scanned.wanted.need(group)), expected);
        }
    }
}
