//! How numbers moved, by what each place that has one says.

use std::collections::{BTreeMap, HashMap};

use crate::format::delta::adjust::{Domain, ShiftMap};

/// What moved further than this did not move, but is another number.
const SHIFT_MAX: u64 = 1 << 24;
/// A place in a map costs as much as so many numbers that a map has wrong: with 2 the delta of a pair with
/// another kernel had 0.14 % more bytes, with 4 0.56 %.
const PLACE: i64 = 1;

/// Of each number, what it has become, and how often.
#[derive(Debug, Default)]
pub(super) struct Votes(BTreeMap<Domain, BTreeMap<u64, Shifts>>);

/// How far a number moved, and how many say so.
type Shifts = Vec<(i64, u32)>;

impl Extend<(Domain, u64, u64)> for Votes {
    /// Of each the domain, what it was, and what it is.
    fn extend<T: IntoIterator<Item = (Domain, u64, u64)>>(&mut self, moves: T) {
        for (domain, was, is) in moves {
            let shift = is.wrapping_sub(was) as i64;
            if shift.unsigned_abs() > SHIFT_MAX {
                continue;
            }
            let shifts = self.0.entry(domain).or_default().entry(was).or_default();
            match shifts.iter_mut().find(|(other, _)| *other == shift) {
                Some((_, votes)) => *votes += 1,
                None => shifts.push((shift, 1)),
            }
        }
    }
}

impl Votes {
    /// A map for each domain.
    pub fn maps(self) -> BTreeMap<Domain, ShiftMap> {
        self.0.into_iter().map(|(domain, numbers)| (domain, cheapest(&numbers))).collect()
    }
}

/// What it costs at least that numbers up to here have moved by the same in the end.
#[derive(Debug)]
struct Path {
    /// Less all votes so far, which is the same for all.
    cost: i64,
    /// From which number on, by index, and how far those before it moved.
    begins: Vec<(usize, i64)>,
}

/// The map that costs the least: places, and votes that it has wrong (the Viterbi algorithm).
fn cheapest(numbers: &BTreeMap<u64, Shifts>) -> ShiftMap {
    // Before the first place nothing has moved.
    let mut paths = HashMap::from([(0, Path { cost: 0, begins: Vec::new() })]);
    let mut best = (0, 0);
    for (index, shifts) in numbers.values().enumerate() {
        let (least, from) = best;
        for (shift, votes) in shifts {
            let new = || Path { cost: i64::MAX, begins: Vec::new() };
            let path = paths.entry(*shift).or_insert_with(new);
            if least + PLACE < path.cost {
                path.cost = least + PLACE;
                path.begins.push((index, from));
            }
            path.cost -= i64::from(*votes);
            // Where two are as good the one that has been so for longer.
            if path.cost < best.0 {
                best = (path.cost, *shift);
            }
        }
    }
    let mut places = Vec::new();
    let (mut shift, mut end) = (best.1, numbers.len());
    while let Some(path) = paths.get(&shift) {
        let past = path.begins.partition_point(|(index, _)| *index < end);
        let Some((index, from)) = past.checked_sub(1).map(|at| path.begins[at]) else { break };
        places.push((index, shift));
        (shift, end) = (from, index);
    }
    let mut map = ShiftMap::default();
    let mut places = places.into_iter().rev().peekable();
    for (index, number) in numbers.keys().enumerate() {
        if let Some((_, shift)) = places.next_if(|(at, _)| *at == index) {
            map.push(*number, shift);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(votes: &[(u64, i64, u32)]) -> ShiftMap {
        let of = |(number, shift, votes): &(u64, i64, u32)| {
            let is = number.wrapping_add_signed(*shift);
            vec![(Domain::Address, *number, is); *votes as usize]
        };
        let mut all = Votes::default();
        all.extend(votes.iter().flat_map(of));
        all.maps().remove(&Domain::Address).unwrap_or_default()
    }

    fn of(places: &[(u64, i64)]) -> ShiftMap {
        let mut map = ShiftMap::default();
        places.iter().for_each(|(start, shift)| map.push(*start, *shift));
        map
    }

    #[test]
    fn a_number_that_is_nearly_alone_in_moving_is_noise() {
        let votes = |of_20| [(10, 5, 9), (20, 9, of_20), (30, 5, 9)];
        assert_eq!(map(&votes(1)), of(&[(10, 5)]));
        assert_eq!(map(&votes(2)), of(&[(10, 5)]));
        assert_eq!(map(&votes(3)), of(&[(10, 5), (20, 9), (30, 5)]));
        // One vote is no reason for the only place, and too far is none at all.
        assert_eq!(map(&[(10, 5, 1)]), of(&[]));
        assert_eq!(map(&[(10, 5, 2)]), of(&[(10, 5)]));
        assert_eq!(map(&[(10, (1 << 24) + 1, 9)]), of(&[]));
    }

    /// What a map costs.
    fn cost(map: &ShiftMap, votes: &[(u64, i64, u32)]) -> i64 {
        let (mut shift, mut cost) = (0, 0);
        for (number, said, votes) in votes {
            let moved = map.moved(*number).wrapping_sub(*number) as i64;
            cost += if moved == shift { 0 } else { PLACE };
            cost += if moved == *said { 0 } else { i64::from(*votes) };
            shift = moved;
        }
        cost
    }

    proptest! {
        /// No other map of the same shifts costs less.
        #[test]
        fn a_map_costs_the_least(said in proptest::collection::vec((0i64..3, 1u32..4), 0..6)) {
            let votes: Vec<_> =
                (0..).zip(&said).map(|(n, (shift, votes))| (n * 10, *shift, *votes)).collect();
            let found = cost(&map(&votes), &votes);
            for which in 0..3usize.pow(said.len() as u32) {
                let shift = |n: usize| (which / 3usize.pow(n as u32) % 3) as i64;
                let places: Vec<_> = (0..said.len()).map(|n| (n as u64 * 10, shift(n))).collect();
                prop_assert!(found <= cost(&of(&places), &votes), "{:?}", places);
            }
        }
    }
}
