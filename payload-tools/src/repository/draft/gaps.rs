//! Floors that devices of some channels pass by.

use crate::format::{Channel, Release, ReleaseFacts};
use crate::trust::SignedRelease;

/// A floor that does not count in a channel in which devices go past it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The floor.
    pub floor: Release,
    /// The release beyond it.
    pub release: Release,
    /// For which the release is signed, and the floor is not.
    pub channel: Channel,
}

/// The gaps in `after` that are none in `before`.
pub(super) fn new_gaps(before: &[SignedRelease], after: &[SignedRelease]) -> Vec<Gap> {
    let old: Vec<_> = gaps(before).collect();
    gaps(after).filter(|gap| !old.contains(gap)).collect()
}

fn gaps(listed: &[SignedRelease]) -> impl Iterator<Item = Gap> {
    let floors = listed.iter().map(SignedRelease::facts).filter(|facts| facts.floor);
    floors.flat_map(|floor| {
        listed.iter().map(SignedRelease::facts).flat_map(|facts| past(floor, facts))
    })
}

fn past(floor: &ReleaseFacts, facts: &ReleaseFacts) -> impl Iterator<Item = Gap> {
    // Whoever may go there at once is past the floor.
    let is_beyond = floor.counter < facts.counter && facts.min_from < floor.counter;
    let channels = facts.channels.iter().filter(move |_| is_beyond);
    channels.filter(|channel| !floor.channels.contains(channel)).map(|channel| Gap {
        floor: floor.release.clone(),
        release: facts.release.clone(),
        channel: channel.clone(),
    })
}
