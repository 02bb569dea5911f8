//! Whether a device may go to a release, by the facts that people signed and whatever the
//! server says.

use super::release::SignedRelease;
use super::time::UnixTime;
use super::trusted::Trusted;
use crate::format::{Channel, Compatible, Release, ReleaseFacts};

/// Who chose the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The device follows this channel, by its own configuration or the server's default.
    Channel(Channel),
    /// A person at the device brought the release: its channels do not count, and no floor is passed.
    ByHand,
}

/// What is to be known of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// What it is.
    pub compatible: Compatible,
    /// By which way the release came.
    pub stream: Stream,
    /// The counter of the release that is booted.
    pub booted: u64,
    /// The highest counter that was ever confirmed here, as far as STATE knows. The booted one is
    /// a floor too.
    pub floor: u64,
}

/// Leave to stage a release. Only [`admit`] gives it, so none is installed without having been
/// asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    release: SignedRelease,
    direction: Direction,
}

impl Admitted {
    /// The release that may be staged.
    pub fn release(&self) -> &SignedRelease {
        &self.release
    }

    /// Whether it is newer or, by a signed permission, older.
    pub fn direction(&self) -> Direction {
        self.direction
    }
}

/// Where a release lies from what the device has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// As new as the floor or newer.
    Forward,
    /// Older, inside the signed range.
    SignedDowngrade,
}

/// Why a device may not go to a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The metadata offers no such release (or no longer: it was withdrawn).
    #[error("release {release} is not offered to {compatible}; `updatectl list` shows what is")]
    NotOffered {
        /// What was asked for.
        release: Release,
        /// Whose metadata was asked.
        compatible: Compatible,
    },
    /// Made for other devices.
    #[error(
        "release {release} is for {found} and this device is {device}; choose a release for {device}"
    )]
    OtherCompatible {
        /// The release.
        release: Release,
        /// What it is for.
        found: Compatible,
        /// What the device is.
        device: Compatible,
    },
    /// Not signed for the channel that the device follows.
    #[error(
        "release {release} is not signed for channel {channel}; follow one of its channels, or have it \
         published to {channel}"
    )]
    OtherChannel {
        /// The release.
        release: Release,
        /// The channel that the device follows.
        channel: Channel,
    },
    /// The booted release is too old to go there directly.
    #[error(
        "release {release} can be reached from counter {min_from} on and this device is at {booted}; \
         install a release between them first"
    )]
    TooOldToJump {
        /// The release.
        release: Release,
        /// The lowest counter to come from.
        min_from: u64,
        /// The device's.
        booted: u64,
    },
    /// A floor lies between: it must be installed first.
    #[error("release {floor} may not be skipped on the way to {release}; install {floor} first")]
    SkipsFloor {
        /// The release that was asked for.
        release: Release,
        /// The nearest floor.
        floor: Release,
    },
    /// Older than what was confirmed here, and nobody signed that way back.
    #[error(
        "release {release} (counter {counter}) is older than what this device has reached (counter \
         {floor}) and its signed downgrade range does not cover it; have the range signed, or roll back \
         to the other slot"
    )]
    Downgrade {
        /// The release.
        release: Release,
        /// Its counter.
        counter: u64,
        /// The device's floor.
        floor: u64,
    },
}

/// The floor that comes first on the way up from one counter to another, for a device that follows this
/// channel: one that is signed for other channels only it could not install. Who follows none passes no
/// floor. Server and device both go by it.
pub fn next_floor<'a>(
    listed: impl IntoIterator<Item = &'a ReleaseFacts>,
    channel: Option<&Channel>,
    (from, to): (u64, u64),
) -> Option<&'a ReleaseFacts> {
    let counts = |facts: &&ReleaseFacts| {
        let is_for = channel.is_none_or(|channel| facts.channels.contains(channel));
        facts.floor && is_for && from < facts.counter && facts.counter < to
    };
    listed.into_iter().filter(counts).min_by_key(|facts| facts.counter)
}

/// Decides about the release of that name. `now` is the check's time, for the end of a downgrade
/// range.
pub fn admit(
    trusted: &Trusted,
    release: &Release,
    device: &DeviceFacts,
    now: UnixTime,
) -> Result<Admitted, Refusal> {
    let Some(wanted) = trusted.release(release.as_str()) else {
        let compatible = trusted.compatible().clone();
        return Err(Refusal::NotOffered { release: release.clone(), compatible });
    };
    let direction = decide(wanted, trusted.releases(), device, now)?;
    Ok(Admitted { release: wanted.clone(), direction })
}

fn decide(
    wanted: &SignedRelease,
    offered: &[SignedRelease],
    device: &DeviceFacts,
    now: UnixTime,
) -> Result<Direction, Refusal> {
    let facts = wanted.facts();
    let release = || facts.release.clone();
    if facts.compatible != device.compatible {
        let (found, device) = (facts.compatible.clone(), device.compatible.clone());
        return Err(Refusal::OtherCompatible { release: release(), found, device });
    }
    if let Stream::Channel(channel) = &device.stream
        && !facts.channels.contains(channel)
    {
        return Err(Refusal::OtherChannel { release: release(), channel: channel.clone() });
    }
    let (booted, counter) = (device.booted, facts.counter);
    if booted < facts.min_from {
        return Err(Refusal::TooOldToJump { release: release(), min_from: facts.min_from, booted });
    }
    let channel = match &device.stream {
        Stream::Channel(channel) => Some(channel),
        Stream::ByHand => None,
    };
    let offered = offered.iter().map(SignedRelease::facts);
    if let Some(floor) = next_floor(offered, channel, (booted, counter)) {
        let floor = floor.release.clone();
        return Err(Refusal::SkipsFloor { release: release(), floor });
    }
    // STATE may have been lost.
    let floor = device.floor.max(booted);
    if counter >= floor {
        return Ok(Direction::Forward);
    }
    let permitted = facts.downgrade_from.as_ref().is_some_and(|range| {
        range.lo <= booted && floor <= range.hi && now < UnixTime::from(range.expires)
    });
    if permitted {
        Ok(Direction::SignedDowngrade)
    } else {
        Err(Refusal::Downgrade { release: release(), counter, floor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{DowngradeRange, Hash, ReleaseFacts};

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().unwrap()
    }

    fn release(counter: u64, change: impl Fn(&mut ReleaseFacts)) -> SignedRelease {
        let mut facts = ReleaseFacts {
            release: name(&counter.to_string()),
            counter,
            compatible: name("demo"),
            min_from: 0,
            channels: vec![name("stable")],
            floor: false,
            downgrade_from: None,
        };
        change(&mut facts);
        SignedRelease::new(1, Hash::from_bytes([0; 32]), facts)
    }

    fn trusted(releases: Vec<SignedRelease>) -> Trusted {
        Trusted {
            compatible: name("demo"),
            releases,
            freshness: None,
            expires: NOW,
            files: Default::default(),
            timestamp_rotated: false,
        }
    }

    fn device(booted: u64, floor: u64) -> DeviceFacts {
        DeviceFacts {
            compatible: name("demo"),
            stream: Stream::Channel(name("stable")),
            booted,
            floor,
        }
    }

    fn back(lo: u64, hi: u64, expires: i64) -> Option<DowngradeRange> {
        let expires = jiff::Timestamp::from_second(NOW.as_secs() + expires).unwrap();
        Some(DowngradeRange { lo, hi, expires })
    }

    fn ask(
        releases: Vec<SignedRelease>,
        wanted: u64,
        device: DeviceFacts,
    ) -> Result<Direction, Refusal> {
        let wanted = name(&wanted.to_string());
        admit(&trusted(releases), &wanted, &device, NOW).map(|admitted| admitted.direction())
    }

    #[test]
    fn a_newer_release_and_the_same_one_are_admitted() {
        assert_eq!(ask(vec![release(2, |_| ())], 2, device(1, 1)), Ok(Direction::Forward));
        assert_eq!(ask(vec![release(2, |_| ())], 2, device(2, 2)), Ok(Direction::Forward));
    }

    #[test]
    fn what_is_not_offered_or_for_others_is_refused() {
        let refusal = ask(vec![release(2, |_| ())], 3, device(1, 1));
        assert!(matches!(refusal, Err(Refusal::NotOffered { .. })), "{refusal:?}");
        let mut other = device(1, 1);
        other.compatible = name("other");
        let refusal = ask(vec![release(2, |_| ())], 2, other);
        assert!(matches!(refusal, Err(Refusal::OtherCompatible { .. })), "{refusal:?}");
    }

    #[test]
    fn the_channel_is_the_signed_one() {
        let mut other = device(1, 1);
        other.stream = Stream::Channel(name("beta"));
        let refusal = ask(vec![release(2, |_| ())], 2, other.clone());
        assert!(matches!(refusal, Err(Refusal::OtherChannel { .. })), "{refusal:?}");
        other.stream = Stream::ByHand;
        assert_eq!(ask(vec![release(2, |_| ())], 2, other), Ok(Direction::Forward));
    }

    #[test]
    fn a_jump_starts_no_lower_than_signed() {
        let offered = || vec![release(9, |facts| facts.min_from = 5)];
        let refusal = Refusal::TooOldToJump { release: name("9"), min_from: 5, booted: 4 };
        assert_eq!(ask(offered(), 9, device(4, 4)), Err(refusal));
        assert_eq!(ask(offered(), 9, device(5, 5)), Ok(Direction::Forward));
    }

    #[test]
    fn a_floor_is_not_skipped() {
        let offered = || {
            let floor = |facts: &mut ReleaseFacts| facts.floor = true;
            vec![release(3, floor), release(5, floor), release(7, |_| ())]
        };
        let refusal = |floor| Err(Refusal::SkipsFloor { release: name("7"), floor: name(floor) });
        assert_eq!(ask(offered(), 7, device(1, 1)), refusal("3"));
        assert_eq!(ask(offered(), 7, device(3, 3)), refusal("5"));
        // What was reached once does not help: the booted slot may be the one from before.
        assert_eq!(ask(offered(), 7, device(3, 5)), refusal("5"));
        assert_eq!(ask(offered(), 7, device(5, 5)), Ok(Direction::Forward));
        assert_eq!(ask(offered(), 3, device(1, 1)), Ok(Direction::Forward));
    }

    #[test]
    fn a_floor_counts_in_the_channels_that_it_is_signed_for() {
        let offered = || {
            let beta = |facts: &mut ReleaseFacts| {
                facts.floor = true;
                facts.channels = vec![name("beta")];
            };
            let both = |facts: &mut ReleaseFacts| facts.channels.push(name("beta"));
            vec![release(2, beta), release(3, both)]
        };
        let refusal = Err(Refusal::SkipsFloor { release: name("3"), floor: name("2") });
        for (stream, expected) in [
            (Stream::Channel(name("stable")), Ok(Direction::Forward)),
            (Stream::Channel(name("beta")), refusal.clone()),
            // By hand the floor can be installed too.
            (Stream::ByHand, refusal),
        ] {
            let follows = DeviceFacts { stream, ..device(1, 1) };
            assert_eq!(ask(offered(), 3, follows.clone()), expected, "{follows:?}");
        }
    }

    #[test]
    fn older_only_inside_a_signed_range_that_has_not_ended() {
        let refusal = Err(Refusal::Downgrade { release: name("2"), counter: 2, floor: 4 });
        let back_to_2 = Ok(Direction::SignedDowngrade);
        for (range, booted, expected) in [
            (None, 4, &refusal),
            (back(3, 5, 60), 4, &back_to_2),
            (back(4, 4, 60), 4, &back_to_2),
            (back(3, 5, 0), 4, &refusal),
            (back(3, 5, -60), 4, &refusal),
            (back(5, 6, 60), 4, &refusal),
            (back(1, 3, 60), 4, &refusal),
            // At 3 now, and 4 was confirmed here: 4 must be in the range as well.
            (back(3, 3, 60), 3, &refusal),
            (back(3, 4, 60), 3, &back_to_2),
        ] {
            let offered = vec![release(2, |facts| facts.downgrade_from = range.clone())];
            assert_eq!(&ask(offered, 2, device(booted, 4)), expected, "{range:?} from {booted}");
        }
    }

    #[test]
    fn a_lost_floor_is_not_below_the_booted_release() {
        let refusal = ask(vec![release(2, |_| ())], 2, device(4, 0));
        assert_eq!(refusal, Err(Refusal::Downgrade { release: name("2"), counter: 2, floor: 4 }));
    }
}
