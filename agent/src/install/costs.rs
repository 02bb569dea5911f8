//! What a release costs to fetch, way by way.

use std::fmt;
use std::ops::Add;

use payload_tools::format::delta::{Head, head_len};
use serde::{Deserialize, Serialize};

use super::index::{ImageIndex, Indexed};
use super::scan::Scanned;
use super::wanted::Wanted;

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

/// What a stage fetched, and what it would have by other ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// Payload bytes.
    pub fetched: u64,
    /// What was to be expected.
    pub costs: Costs,
}

impl Costs {
    pub(super) fn of(index: &ImageIndex, indexed: &Indexed<'_>, scanned: &Scanned) -> Self {
        let Indexed { image, levels, table, delta, .. } = indexed;
        let of_head = if index.has_delta() { head_len(image.size) } else { 0 };
        let of_index = index.bytes_fetched() - of_head;
        let fetched = |wanted: &Wanted, delta: Option<&Head>| {
            let jobs = wanted.jobs(table, delta);
            of_index + jobs.iter().map(|job| job.origin.cost()).sum::<u64>()
        };
        let head = delta.as_ref().map(|delta| delta.head());
        let all = Wanted::all(levels);
        Costs {
            full: fetched(&all, None),
            target: fetched(&scanned.target, None),
            booted: fetched(&scanned.wanted, None),
            delta: head.map(|head| of_head + fetched(&all, Some(head))),
            cheapest: of_head + fetched(&scanned.wanted, head),
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

impl fmt::Display for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fetched of {}", Mib(self.fetched), self.costs)
    }
}

/// Bytes for people.
pub(crate) struct Mib(pub u64);

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
            Download { fetched: mib(3) / 2, costs }.to_string(),
            "1.5 MiB fetched of 0.0 MiB to fetch: full payload 200.0 MiB, with the target slot \
             150.0 MiB, the booted slot too 100.0 MiB, by delta 0.1 MiB"
        );
        let without = Costs { delta: None, ..costs }.to_string();
        assert!(without.ends_with(", no delta"), "{without}");
    }
}
