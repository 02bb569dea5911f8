use jiff::Timestamp;

use super::path::{Step, next_step};
use super::policy::{CompatiblePolicy, Flow, Offer, Policy};
use super::report::DeviceReport;
use super::verdict::{Hold, Reason, Verdict};
use crate::names::{Channel, Release};

/// The answer to a device, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Install `release` now.
    Update {
        /// What to install.
        release: Release,
        /// Its counter.
        counter: u64,
        /// Which wish of the operator it follows.
        reason: Reason,
        /// The channel that the device was taken to be in.
        channel: Option<Channel>,
        /// A sentence for people.
        detail: String,
    },
    /// Stay.
    Stay {
        /// Why.
        hold: Hold,
        /// The release this is about, where there is one.
        release: Option<Release>,
        /// The channel that the device was taken to be in.
        channel: Option<Channel>,
        /// A sentence for people.
        detail: String,
    },
}

impl Decision {
    /// The decision without its particulars.
    pub fn verdict(&self) -> Verdict {
        match self {
            Decision::Update { reason, .. } => Verdict::Update(*reason),
            Decision::Stay { hold, .. } => Verdict::Stay(*hold),
        }
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        match self {
            Decision::Update { detail, .. } | Decision::Stay { detail, .. } => detail,
        }
    }

    /// The channel that the device was taken to be in.
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Decision::Update { channel, .. } | Decision::Stay { channel, .. } => channel.as_ref(),
        }
    }
}

/// What an operator wants a device to run, before the device's own state counts.
struct Wish<'a> {
    release: &'a Release,
    reason: Reason,
    channel: Option<&'a Channel>,
}

/// Decides what `report`'s device is to do. Pure: all time is in `now`.
pub fn decide(policy: &Policy, report: &DeviceReport, now: Timestamp) -> Decision {
    let empty = CompatiblePolicy::default();
    let releases = policy.compatibles.get(&report.compatible).unwrap_or(&empty);
    match wish(policy, releases, report) {
        Ok(wish) => judge(releases, report, &wish, now),
        Err(stay) => stay,
    }
}

fn wish<'a>(
    policy: &'a Policy,
    releases: &'a CompatiblePolicy,
    report: &'a DeviceReport,
) -> Result<Wish<'a>, Decision> {
    let channel = report.channel.as_ref().or(releases.default_channel.as_ref());
    if let Some(release) = policy.pins.get(&report.device) {
        return Ok(Wish { release, reason: Reason::DevicePin, channel });
    }
    let no_channel = |detail| stay(Hold::NoChannel, None, channel, detail);
    let Some(name) = channel else {
        return Err(no_channel(format!("{} has no default channel", report.compatible)));
    };
    let Some(standing) = releases.channels.get(name) else {
        return Err(no_channel(format!("{} has no channel {name}", report.compatible)));
    };
    if standing.flow == Flow::Paused {
        return Err(stay(Hold::Paused, None, channel, format!("{name} is paused by an operator")));
    }
    let reason = if standing.pin.is_some() { Reason::ChannelPin } else { Reason::Channel };
    Ok(Wish { release: standing.wanted(), reason, channel })
}

fn judge(
    releases: &CompatiblePolicy,
    report: &DeviceReport,
    wish: &Wish<'_>,
    now: Timestamp,
) -> Decision {
    let stay = |hold, release: &Release, detail| stay(hold, Some(release), wish.channel, detail);
    let by_channel = wish.channel.filter(|_| wish.reason != Reason::DevicePin);
    let offer = match (releases.signed(wish.release, by_channel), by_channel) {
        (Ok(offer), _) => offer,
        (Err(Offer::NotSigned), Some(channel)) => {
            let detail = format!("{} is not signed for channel {channel}", wish.release);
            return stay(Hold::UnknownRelease, wish.release, detail);
        }
        (Err(_), _) => {
            let detail = format!("{} is not in the signed list", wish.release);
            return stay(Hold::UnknownRelease, wish.release, detail);
        }
    };
    let running = (report.release.as_ref(), report.counter);
    let step = next_step(releases, (wish.release, offer), wish.channel, running, now);
    let (release, offer) = match step {
        Step::Arrived => return stay(Hold::UpToDate, wish.release, standing(wish)),
        Step::Beyond if wish.reason == Reason::Channel => {
            let running = report.release.as_ref().map_or("something newer", |r| r.as_str());
            let detail = format!("{}; the device runs {running}", standing(wish));
            return stay(Hold::UpToDate, wish.release, detail);
        }
        // A pin names one release whatever its age. If it is still in the other
        // slot the device may return to it; if not, the device enforces the
        // signed range and says so.
        Step::Beyond => (wish.release, offer),
        Step::NoWay(next, offer) => {
            let detail = format!("{next} needs counter {} first", offer.min_from);
            return stay(Hold::NoPath, next, detail);
        }
        Step::Install(next, offer) => (next, offer),
    };
    if report.failed.contains(release) {
        let detail = format!("{release} failed its trial on this device");
        return stay(Hold::FailedBefore, release, detail);
    }
    if report.held.contains(release) && !report.manual {
        let detail = format!("{release} is held: this device was rolled back from it");
        return stay(Hold::Held, release, detail);
    }
    let detail = if release == wish.release {
        standing(wish)
    } else {
        format!("{}, and {release} may not be skipped", standing(wish))
    };
    let (channel, release) = (wish.channel.cloned(), release.clone());
    Decision::Update { release, counter: offer.counter, reason: wish.reason, channel, detail }
}

fn standing(wish: &Wish<'_>) -> String {
    let release = wish.release;
    match (wish.reason, wish.channel) {
        (Reason::DevicePin, _) => format!("this device is pinned to {release}"),
        (Reason::ChannelPin, Some(channel)) => format!("{channel} is pinned to {release}"),
        (_, Some(channel)) => format!("{channel} is at {release}"),
        (_, None) => format!("{release} is wanted"),
    }
}

fn stay(
    hold: Hold,
    release: Option<&Release>,
    channel: Option<&Channel>,
    detail: String,
) -> Decision {
    Decision::Stay { hold, release: release.cloned(), channel: channel.cloned(), detail }
}

#[cfg(test)]
mod tests;
