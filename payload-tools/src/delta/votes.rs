//! How numbers moved, by what each place that has one says.

use std::collections::{BTreeMap, HashMap};

use crate::format::delta::adjust::{Domain, ShiftMap};

/// What moved further than this did not move, but is another number.
const SHIFT_MAX: u64 = 1 << 24;
/// A place in a map costs as much as so many numbers that a map has wrong: with 2 the delta of a pair with
/// another kernel had 0.14 % more bytes, with 4 0.56 %.
const PLACE: i64 = 1;

/// So many votes at least are counted together before they are looked through for the same ones.
const LOOSE: usize = 1 << 14;

/// Of each number, what it has become, and how often.
#[derive(Debug, Default)]
pub(super) struct Votes {
    all: Vec<Vote>,
    /// So many of them are in order, each once.
    compact: usize,
}

/// That a number of a domain moved so far, and how many say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Vote {
    domain: Domain,
    number: u64,
    shift: i64,
    votes: u32,
}

impl Extend<(Domain, u64, u64)> for Votes {
    /// Of each the domain, what it was, and what it is.
    fn extend<T: IntoIterator<Item = (Domain, u64, u64)>>(&mut self, moves: T) {
        for (domain, number, is) in moves {
            let shift = is.wrapping_sub(number) as i64;
            if shift.unsigned_abs() <= SHIFT_MAX {
                self.all.push(Vote { domain, number, shift, votes: 1 });
            }
            if self.all.len() >= 2 * self.compact + LOOSE {
                self.compact();
            }
        }
    }
}

impl Votes {
    fn compact(&mut self) {
        self.all.sort_unstable();
        self.all.dedup_by(|next, kept| {
            let is_same =
                (next.domain, next.number, next.shift) == (kept.domain, kept.number, kept.shift);
            if is_same {
                kept.votes = kept.votes.saturating_add(next.votes);
            }
            is_same
        });
        self.compact = self.all.len();
    }

    /// A map for each domain.
    pub fn maps(mut self) -> BTreeMap<Domain, ShiftMap> {
        self.compact();
        let domains = self.all.chunk_by(|one, next| one.domain == next.domain);
        domains.map(|votes| (votes[0].domain, cheapest(votes))).collect()
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
fn cheapest(votes: &[Vote]) -> ShiftMap {
    let numbers: Vec<&[Vote]> = votes.chunk_by(|one, next| one.number == next.number).collect();
    // Before the first place nothing has moved.
    let mut paths = HashMap::from([(0, Path { cost: 0, begins: Vec::new() })]);
    let mut best = (0, 0);
    for (index, votes) in numbers.iter().enumerate() {
        let (least, from) = best;
        for Vote { shift, votes, .. } in *votes {
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
    for (index, shift) in places.into_iter().rev() {
        map.push(numbers[index][0].number, shift);
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
