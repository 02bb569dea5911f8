//! Which segments need what: pure arithmetic over groups and frames.

use std::ops::Range;

use crate::format::delta::{Head, Kind, Part};
use crate::format::seekable::{SeekTable, segment_range};
use crate::format::{GROUP, Role, SEGMENT};
use crate::tree::Levels;

const GROUPS_PER_SEGMENT: u64 = (SEGMENT / GROUP) as u64;

/// How the bytes of a group get to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// They are there.
    Nothing,
    /// The tree says that they are zeroes.
    Zeroes,
    /// From the payload.
    Fetch,
}

/// One need per group of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(Vec<Need>);

/// A segment that is to be written, and how it is had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its index.
    pub segment: u64,
    /// Where its bytes come from.
    pub origin: Origin,
}

/// Where the bytes of a segment come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the tree says that it is zeroes.
    Zeroes,
    /// This frame of the payload.
    Frame(Range<u64>),
    /// This part of the delta, which is shorter, or else the frame.
    Delta(Part, Range<u64>),
}

impl Origin {
    /// Bytes to fetch.
    pub fn cost(&self) -> u64 {
        match self {
            Origin::Zeroes => 0,
            Origin::Frame(range) | Origin::Delta(Part { body: range, .. }, _) => {
                range.end - range.start
            }
        }
    }

    /// Whether something is to be decoded, as long as a delta is good.
    pub fn is_decoded(&self) -> bool {
        match self {
            Origin::Zeroes => false,
            Origin::Frame(_) => true,
            Origin::Delta(part, _) => !matches!(part.kind, Kind::Zero | Kind::Copy),
        }
    }
}

impl Wanted {
    /// Everything that the image has.
    pub fn all(levels: &Levels) -> Self {
        let need = |group| match levels.zero_group(group) {
            Some(_) => Need::Zeroes,
            None => Need::Fetch,
        };
        Wanted((0..levels.group_count()).map(need).collect())
    }

    /// Only these groups, whatever they hold.
    pub fn only(levels: &Levels, groups: &[u64]) -> Self {
        let mut wanted = Wanted::all(levels);
        for (group, need) in (0..).zip(&mut wanted.0) {
            if !groups.contains(&group) {
                *need = Need::Nothing;
            }
        }
        wanted
    }

    /// This group need not be brought.
    pub fn satisfied(&mut self, group: u64) {
        if let Some(need) = usize::try_from(group).ok().and_then(|group| self.0.get_mut(group)) {
            *need = Need::Nothing;
        }
    }

    /// What a group needs; nothing past the image's end.
    pub fn need(&self, group: u64) -> Need {
        let need = usize::try_from(group).ok().and_then(|group| self.0.get(group));
        need.copied().unwrap_or(Need::Nothing)
    }

    /// The segments that are not satisfied, in order, each from where it takes
    /// the fewest bytes.
    pub fn jobs(&self, table: &SeekTable, delta: Option<&Head>) -> Vec<Job> {
        (0..table.frame_count())
            .filter_map(|segment| {
                let groups = groups_of(segment).map(|group| self.need(group));
                let origin = match groups.max_by_key(|need| *need as u8)? {
                    Need::Nothing => return None,
                    Need::Zeroes => Origin::Zeroes,
                    Need::Fetch => {
                        let frame = table.frame(segment)?.compressed;
                        match delta.and_then(|head| cheaper(head, segment, &frame)) {
                            Some(part) => Origin::Delta(part, frame),
                            None => Origin::Frame(frame),
                        }
                    }
                };
                Some(Job { segment, origin })
            })
            .collect()
    }

    /// The runs of neighbouring groups of a segment that are not satisfied.
    pub fn runs(&self, segment: u64) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for group in groups_of(segment).filter(|group| self.need(*group) != Need::Nothing) {
            match runs.last_mut() {
                Some(run) if run.end == group => run.end += 1,
                _ => runs.push(group..group + 1),
            }
        }
        runs
    }
}

/// The groups of a segment; of the last one also those past the image's end.
pub fn groups_of(segment: u64) -> Range<u64> {
    segment * GROUPS_PER_SEGMENT..(segment + 1) * GROUPS_PER_SEGMENT
}

/// Whether a group may lie in a slot as the image has it: of a kernel the first is never whole, since
/// the head of a target is zero until all is read back.
pub fn may_lie_in_a_slot(role: Role, group: u64) -> bool {
    role != Role::Kernel || group != 0
}

/// The part of a delta that makes a segment with fewer bytes than `frame`.
fn cheaper(head: &Head, segment: u64, frame: &Range<u64>) -> Option<Part> {
    let part = head.part(segment)?;
    let len = |range: &Range<u64>| range.end - range.start;
    // The tree says which segments are zeroes, and a body has to fit where its segment will be.
    let fits = len(&part.body) <= SEGMENT as u64;
    (part.kind != Kind::Zero && fits && len(&part.body) < len(frame)).then_some(part)
}

/// Where in the bytes of `segment` the bytes of these groups are.
pub fn bytes_in_segment(segment: u64, groups: &Range<u64>, image_size: u64) -> Range<usize> {
    let bounds = segment_range(image_size, segment);
    let place = |group: u64| ((group * GROUP as u64).min(bounds.end) - bounds.start) as usize;
    place(groups.start)..place(groups.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Hash;

    #[test]
    fn runs_are_the_neighbouring_unsatisfied_groups() {
        use Need::{Fetch, Nothing, Zeroes};
        let wanted =
            Wanted(vec![Nothing, Fetch, Zeroes, Nothing, Nothing, Nothing, Nothing, Fetch, Zeroes]);
        assert_eq!(wanted.runs(0), [1..3, 7..8]);
        assert_eq!(wanted.runs(1), vec![8..9]);
        assert_eq!(wanted.runs(2), []);
    }

    #[test]
    fn a_part_of_a_delta_is_shorter_than_the_frame_and_fits() {
        let size = SEGMENT as u64;
        let root = Hash::of(b"");
        let taken = |kind, len: u64, frame: u64| {
            let words = Head::encode((&root, size), (&root, size), &[(kind, len as u32)]);
            let head = Head::parse(&words, words.len() as u64 + len).unwrap();
            cheaper(&head, 0, &(0..frame)).is_some()
        };
        assert!(taken(Kind::Patch, size, size + 2));
        assert!(!taken(Kind::Patch, size + 1, size + 2), "no room");
        assert!(!taken(Kind::Patch, 100, 100));
        assert!(!taken(Kind::Zero, 0, 100), "the tree says what is zeroes");
    }

    #[test]
    fn the_last_group_ends_with_the_image() {
        let size = SEGMENT as u64 + GROUP as u64 + 4096;
        let group = GROUP;
        assert_eq!(bytes_in_segment(0, &(0..8), size), 0..SEGMENT);
        assert_eq!(bytes_in_segment(0, &(1..3), size), group..3 * group);
        assert_eq!(bytes_in_segment(1, &(9..10), size), group..group + 4096);
    }

    #[test]
    fn what_is_there_as_it_is_needs_no_decoder() {
        let of = |kind| {
            let part = Part { kind, body: 0..1, segment: 0..1 };
            Origin::Delta(part, 0..9).is_decoded()
        };
        let decoded: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| of(*kind)).collect();
        assert_eq!(decoded, [Kind::Zstd, Kind::Prefix, Kind::Patch, Kind::Repack]);
        assert_eq!([Origin::Zeroes, Origin::Frame(0..9)].map(|of| of.is_decoded()), [false, true]);
    }
}
