//! Where code and data of a module moved within their sections, by their bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::elf::{Object, PROGBITS};
use super::tracks::Tracks;
use crate::format::delta::adjust::{Domain, ShiftMap};

/// Shorter pieces tell nothing about where they moved.
const PIECE_MIN: usize = 12;

/// A map for each section that is referred to and has bytes of its own.
pub(super) fn code_maps(
    old: &Object,
    new: &Object,
    file: &[u8],
    tracks: &Tracks,
) -> BTreeMap<Domain, ShiftMap> {
    let mut numbers: BTreeMap<u16, BTreeSet<u64>> = BTreeMap::new();
    old.look(file, |_, site, number| {
        if let Domain::Section(index) = site.domain {
            numbers.entry(index).or_default().insert(number);
        }
    });
    let map_of = |(index, numbers): (u16, BTreeSet<u64>)| {
        let was =
            old.sections.get(usize::from(index)).filter(|section| section.kind == PROGBITS)?;
        let is = new.sections.iter().find(|section| section.name == was.name)?;
        let has_bytes = file[was.bytes.clone()].iter().any(|byte| *byte != 0);
        let numbers: Vec<u64> = numbers.into_iter().collect();
        let map = || code_map(&numbers, (&was.bytes, &is.bytes), tracks);
        has_bytes.then(|| (Domain::Section(index), map()))
    };
    numbers.into_iter().filter_map(map_of).collect()
}

fn code_map(
    numbers: &[u64],
    (was, is): (&Range<usize>, &Range<usize>),
    tracks: &Tracks,
) -> ShiftMap {
    let mut pieces: Vec<(Range<usize>, i64)> = Vec::new();
    for track in tracks.iter() {
        let start = track.old.max(was.start);
        let end = (track.old + track.len).min(was.end);
        let to = track.new + start - track.old;
        if start + PIECE_MIN <= end && is.contains(&to) {
            let shift = (to - is.start) as i64 - (start - was.start) as i64;
            pieces.push((start - was.start..end - was.start, shift));
        }
    }
    // A short piece within a long one is used elsewhere as well; what is referred to is the long one.
    pieces.sort_by_key(|(range, _)| (range.len(), range.start));
    let mut shifts = vec![None; numbers.len()];
    for (range, shift) in pieces {
        let first = numbers.partition_point(|number| *number < range.start as u64);
        let past = numbers.partition_point(|number| *number < range.end as u64);
        shifts[first..past].fill(Some(shift));
    }
    let mut map = ShiftMap::default();
    for (number, shift) in numbers.iter().zip(shifts) {
        if let Some(shift) = shift {
            map.push(*number, shift);
        }
    }
    map
}
