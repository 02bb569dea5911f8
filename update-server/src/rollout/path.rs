//! The next step from where a device is to where it is wanted: floors first.

use jiff::Timestamp;
use payload_tools::format::ReleaseFacts;

use super::policy::CompatiblePolicy;
use crate::names::Release;

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

/// The next step from `counter` to `wanted`.
pub fn next_step<'a>(
    releases: &'a CompatiblePolicy,
    wanted: (&'a Release, &'a ReleaseFacts),
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
    let (name, offer) = releases
        .offers
        .iter()
        .filter(|(_, o)| o.floor && counter < o.counter && o.counter < offer.counter)
        .min_by_key(|(_, o)| o.counter)
        .unwrap_or((name, offer));
    if counter < offer.min_from { Step::NoWay(name, offer) } else { Step::Install(name, offer) }
}
