//! The next step from where a device is to where it is wanted: floors first.

use jiff::Timestamp;
use payload_tools::format::ReleaseFacts;
use payload_tools::trust::policy::next_floor;

use super::policy::CompatiblePolicy;
use crate::names::{Channel, Release};

/// How a device gets on towards its wanted release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// It is there.
    Arrived,
    /// It runs something newer, and nothing signed allows the way back.
    Beyond,
    /// Install this now: the wanted release or a floor on the way.
    Install(&'a Release, &'a ReleaseFacts),
    /// A dead end: the next release may not be installed from here.
    NoWay(&'a Release, &'a ReleaseFacts),
}

/// The next step to `wanted` from what runs, of a device in `channel`.
pub fn next_step<'a>(
    releases: &'a CompatiblePolicy,
    wanted: (&'a Release, &'a ReleaseFacts),
    channel: Option<&Channel>,
    running: (Option<&Release>, u64),
    now: Timestamp,
) -> Step<'a> {
    let (name, offer) = wanted;
    let (running_name, counter) = running;
    if offer.counter == counter && Some(name) == running_name {
        return Step::Arrived;
    }
    if offer.counter <= counter {
        return match &offer.downgrade_from {
            Some(range) if (range.lo..=range.hi).contains(&counter) && now < range.expires => {
                Step::Install(name, offer)
            }
            _ => Step::Beyond,
        };
    }
    let floor = next_floor(releases.offers.values(), channel, (counter, offer.counter));
    let (name, offer) = floor.map_or((name, offer), |floor| (&floor.release, floor));
    if counter < offer.min_from { Step::NoWay(name, offer) } else { Step::Install(name, offer) }
}
