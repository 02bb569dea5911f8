//! Time as metadata writes it, and the rule that says which time a device goes by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Seconds since 1970-01-01T00:00:00Z, clamped to the years 1970 to 9999.
///
/// Written everywhere as `2026-11-01T00:00:00Z`, the only form that the specification (4.2.1,
/// `EXPIRES`) allows; fractions, offsets and lower case are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i64);

impl UnixTime {
    /// 9999-12-30T22:00:00Z, the last moment that the calendar library can print.
    const LAST: i64 = 253_402_207_200;

    /// The moment so many seconds after the epoch; outside the range, the nearest end of it.
    pub const fn from_secs(secs: i64) -> Self {
        match secs {
            ..=0 => Self(0),
            Self::LAST.. => Self(Self::LAST),
            _ => Self(secs),
        }
    }

    /// Seconds since the epoch.
    pub const fn as_secs(self) -> i64 {
        self.0
    }

    /// The system clock. Decisions take time as an argument: only the edge of a program asks this.
    pub fn of_system_clock() -> Self {
        jiff::Timestamp::now().into()
    }

    /// So many seconds later, at most the end of the range.
    pub const fn plus_secs(self, secs: u32) -> Self {
        Self::from_secs(self.0.saturating_add(secs as i64))
    }

    /// So many days of 24 hours later, at most the end of the range.
    pub const fn plus_days(self, days: u32) -> Self {
        Self::from_secs(self.0.saturating_add((days as i64).saturating_mul(86_400)))
    }
}

impl From<jiff::Timestamp> for UnixTime {
    fn from(at: jiff::Timestamp) -> Self {
        Self::from_secs(at.as_second())
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(at) => at.fmt(f),
            Err(_) => Err(fmt::Error),
        }
    }
}

/// A time that is not written `YYYY-MM-DDTHH:MM:SSZ`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time of the form 2026-11-01T00:00:00Z")]
pub struct TimeError(String);

impl FromStr for UnixTime {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let refuse = || TimeError(text.to_owned());
        let at: jiff::Timestamp = text.parse().map_err(|_| refuse())?;
        let time = Self::from(at);
        // One spelling per moment: whatever prints differently was not in that form.
        if time.to_string() == text { Ok(time) } else { Err(refuse()) }
    }
}

impl Serialize for UnixTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnixTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The earliest moment it can be: raised by signed facts only, never by the system clock, so that
/// a clock that once was wrong leaves nothing behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClockFloor(UnixTime);

impl ClockFloor {
    /// The floor of a device that has only its image: the moment that was built.
    pub const fn image_built(at: UnixTime) -> Self {
        Self(at)
    }

    /// The floor after one more signed fact: the later of the two.
    pub fn raised_to(self, signed: UnixTime) -> Self {
        Self(self.0.max(signed))
    }

    /// The larger of two floors (STATE's and the booted image's).
    pub fn max(self, other: Self) -> Self {
        self.raised_to(other.0)
    }

    /// The time to go by for one check: the system clock, unless that is before the floor.
    pub fn time(self, system_clock: UnixTime) -> UnixTime {
        system_clock.max(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_is_a_time() {
        assert_eq!("2026-11-01T00:00:00Z".parse(), Ok(UnixTime::from_secs(1_793_491_200)));
        for wrong in [
            "2026-11-01T00:00:00+00:00",
            "2026-11-01T00:00:00.0Z",
            "2026-11-01t00:00:00z",
            "2026-11-01 00:00:00Z",
            "2026-11-01",
            "2026-11-01T00:00:60Z",
            "2026-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "",
        ] {
            assert!(wrong.parse::<UnixTime>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_end_of_the_range_prints_and_parses() {
        for secs in [i64::MIN, -1, 0, 1, UnixTime::LAST - 1, UnixTime::LAST, i64::MAX] {
            let time = UnixTime::from_secs(secs).plus_days(u32::MAX);
            assert_eq!(time.to_string().parse(), Ok(time));
            let time = UnixTime::from_secs(secs);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn the_floor_holds_against_a_clock_that_is_behind() {
        let floor = ClockFloor::image_built(UnixTime::from_secs(1000));
        assert_eq!(floor.time(UnixTime::from_secs(0)), UnixTime::from_secs(1000));
        assert_eq!(floor.time(UnixTime::from_secs(2000)), UnixTime::from_secs(2000));
        let raised =
            floor.raised_to(UnixTime::from_secs(1500)).raised_to(UnixTime::from_secs(1200));
        assert_eq!(raised.time(UnixTime::from_secs(1100)), UnixTime::from_secs(1500));
    }
}
