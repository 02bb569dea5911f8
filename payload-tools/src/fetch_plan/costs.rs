//! What a release costs to fetch, way by way.

use std::fmt;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use super::wanted::Wanted;
use crate::format::delta::Head;
use crate::format::seekable::SeekTable;
use crate::tree::Levels;

/// Bytes that a release takes to fetch, trees and seek tables included, by what is made use of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Costs {
    /// Of nothing.
    pub full: u64,
    /// Of what the target slot has.
    pub target: u64,
    /// Of what the target slot and the booted slot have.
    pub booted: u64,
    /// Of a delta alone. `None`: the source has none.
    pub delta: Option<u64>,
    /// Of all that, segment by segment: what is done.
    pub cheapest: u64,
}

/// What there is of an image for devices to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'a> {
    /// Its tree.
    pub levels: &'a Levels,
    /// Where the frames of its full payload are.
    pub table: &'a SeekTable,
    /// The delta that may be made use of.
    pub delta: Option<&'a Head>,
    /// Bytes that are fetched before anything is known: tree and seek table.
    pub index_bytes: u64,
    /// Bytes of the head of a delta that are fetched, whatever use is made of it.
    pub head_bytes: u64,
}

impl Costs {
    /// Of one image, of which the target lacks `target`, and target and booted slot together `both`.
    pub fn of(offered: &Offered<'_>, target: &Wanted, both: &Wanted) -> Self {
        let Offered { levels, table, delta, index_bytes, head_bytes } = *offered;
        let fetched = |wanted: &Wanted, delta: Option<&Head>| {
            let jobs = wanted.jobs(table, delta);
            index_bytes + jobs.iter().map(|job| job.origin.cost()).sum::<u64>()
        };
        let all = Wanted::all(levels);
        Costs {
            full: fetched(&all, None),
            target: fetched(target, None),
            booted: fetched(both, None),
            delta: delta.map(|head| head_bytes + fetched(&all, Some(head))),
            cheapest: head_bytes + fetched(both, delta),
        }
    }
}

impl Add for Costs {
    type Output = Costs;

    /// Of two images; one that no delta makes comes from its full payload.
    fn add(self, other: Costs) -> Costs {
        let delta = |of: &Costs| of.delta.unwrap_or(of.full);
        let any = self.delta.or(other.delta);
        Costs {
            full: self.full + other.full,
            target: self.target + other.target,
            booted: self.booted + other.booted,
            delta: any.map(|_| delta(&self) + delta(&other)),
            cheapest: self.cheapest + other.cheapest,
        }
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Costs { full, target, booted, delta, cheapest } = self;
        write!(f, "{} to fetch: full payload {}", Mib(*cheapest), Mib(*full))?;
        write!(f, ", with the target slot {}, the booted slot too {}", Mib(*target), Mib(*booted))?;
        match delta {
            Some(delta) => write!(f, ", by delta {}", Mib(*delta)),
            None => write!(f, ", no delta"),
        }
    }
}

/// Bytes for people.
#[derive(Debug, Clone, Copy)]
pub struct Mib(pub u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tenths, rounded up: nothing but nothing is 0.0.
        let tenths = (u128::from(self.0) * 10).div_ceil(1 << 20);
        write!(f, "{}.{} MiB", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_add_up_and_one_without_a_delta_counts_in_full() {
        let kernel = Costs { full: 10, target: 9, booted: 8, delta: None, cheapest: 8 };
        let root = Costs { full: 100, target: 90, booted: 80, delta: Some(20), cheapest: 15 };
        let both = Costs { full: 110, target: 99, booted: 88, delta: Some(30), cheapest: 23 };
        assert_eq!(kernel + root, both);
        assert_eq!((kernel + kernel).delta, None);
    }

    #[test]
    fn costs_are_told_in_mebibytes() {
        let mib = |n: u64| n << 20;
        let costs = Costs {
            full: mib(200),
            target: mib(150),
            booted: mib(100),
            delta: Some(1),
            cheapest: 0,
        };
        assert_eq!(
            costs.to_string(),
            "0.0 MiB to fetch: full payload 200.0 MiB, with the target slot \
             150.0 MiB, the booted slot too 100.0 MiB, by delta 0.1 MiB"
        );
        let without = Costs { delta: None, ..costs }.to_string();
        assert!(without.ends_with(", no delta"), "{without}");
    }
}
