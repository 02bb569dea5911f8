use std::ops::Range;

use super::AdjustError;
use crate::format::delta::varint::{self, Reader};

/// From a number on, how far those from there to the next place have moved.
pub(super) type Place = (u64, i64);

/// How numbers of one domain have moved: each by the shift of the last place at or before it, those
/// before the first place not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShiftMap(Vec<Place>);

impl ShiftMap {
    /// Goes on with `shift` from `start`, which lies behind all places before.
    pub fn push(&mut self, start: u64, shift: i64) {
        debug_assert!(self.0.last().is_none_or(|(last, _)| *last < start), "places are in order");
        if shift != self.0.last().map_or(0, |(_, shift)| *shift) {
            self.0.push((start, shift));
        }
    }

    /// Where a number is now.
    pub fn moved(&self, number: u64) -> u64 {
        moved(&self.0, number)
    }

    /// The same map with only the places that these numbers, which are in order, need.
    pub fn reduced(&self, numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut reduced = Self::default();
        for number in numbers {
            reduced.push(number, self.moved(number).wrapping_sub(number) as i64);
        }
        reduced
    }

    /// Nothing has moved.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many places; of each how far behind the last one, and by how much the shift changes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        varint::put(self.0.len() as u64, out);
        let (mut was, mut shift_was) = (0, 0i64);
        for (start, shift) in &self.0 {
            varint::put(start - was, out);
            varint::put_signed(shift.wrapping_sub(shift_was), out);
            (was, shift_was) = (*start, *shift);
        }
    }
}

/// Where a number is now.
pub(super) fn moved(places: &[Place], number: u64) -> u64 {
    let past = places.partition_point(|(start, _)| *start <= number);
    let shift = past.checked_sub(1).map_or(0, |at| places[at].1);
    number.wrapping_add_signed(shift)
}

/// Reads a map to the end of `places`; which of them it has.
pub(super) fn parse(
    reader: &mut Reader<'_>,
    places: &mut Vec<Place>,
) -> Result<Range<usize>, AdjustError> {
    let first = places.len();
    let (mut start, mut shift) = (0u64, 0i64);
    for index in 0..reader.number()? {
        let skip = reader.number()?;
        if skip == 0 && index > 0 {
            return Err(AdjustError::Order);
        }
        start = start.checked_add(skip).ok_or(AdjustError::Order)?;
        shift = shift.wrapping_add(reader.signed()?);
        push(places, (start, shift))?;
    }
    Ok(first..places.len())
}

/// Adds to what has been given its memory, and gets none.
pub(super) fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), AdjustError> {
    if list.len() == list.capacity() {
        return Err(AdjustError::Places);
    }
    list.push(item);
    Ok(())
}
