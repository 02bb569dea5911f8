use jiff::Timestamp;

use super::path::{Step, next_step};
use super::policy::Policy;
use crate::names::{Channel, Compatible, Release};

/// Devices that are alike in all that decides where they go next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// What releases they can run.
    pub compatible: Compatible,
    /// The channel that they were taken to be in.
    pub channel: Option<Channel>,
    /// Held at this release by an operator.
    pub pin: Option<Release>,
    /// What they run.
    pub release: Release,
    /// How many there are.
    pub devices: u64,
}

/// The release that these devices install next, now or once their channel is resumed; what they are to
/// have already, or may not come to from here, is none.
pub fn destination(policy: &Policy, fleet: &Fleet, now: Timestamp) -> Option<Release> {
    let releases = policy.compatibles.get(&fleet.compatible)?;
    let running = releases.offers.get(&fleet.release)?;
    let wanted = match &fleet.pin {
        Some(pin) => pin,
        None => {
            let channel = fleet.channel.as_ref()?;
            let wanted = releases.channels.get(channel)?.wanted();
            releases.offers.get(wanted)?.channels.contains(channel).then_some(wanted)?
        }
    };
    let offer = releases.offers.get(wanted)?;
    let running = (Some(&fleet.release), running.counter);
    match next_step(releases, (wanted, offer), fleet.channel.as_ref(), running, now) {
        Step::Install(next, _) => Some(next.clone()),
        Step::Arrived | Step::Beyond | Step::NoWay(..) => None,
    }
}
