//! What ways cost a fleet: arithmetic and units.

use std::fmt;
use std::ops::Add;

use serde::Serialize;

use crate::fetch_plan::Costs;

/// A way to bring an image to devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The full payload.
    Full,
    /// Not one of ours: a list of hashes of blocks of 4 KiB, and the blocks that the old image lacks.
    BlockHashes,
    /// Of the full payload what the booted slot does not have at the same place.
    Booted,
    /// A delta alone.
    Delta,
    /// What a device does: of each segment the cheapest.
    Cheapest,
}

/// What each way costs a device, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WayCosts {
    /// What a device knows of.
    pub costs: Costs,
    /// Of blocks of 4 KiB and the list of their hashes.
    pub block_hashes: u64,
}

impl Way {
    /// All of them, in the order in which they are told.
    pub const ALL: [Way; 5] = [Way::Full, Way::BlockHashes, Way::Booted, Way::Delta, Way::Cheapest];

    /// What a person is told of it.
    pub const fn in_words(self) -> &'static str {
        match self {
            Way::Full => "full payload",
            Way::BlockHashes => "4 KiB block hashes, to compare",
            Way::Booted => "full payload and booted slot",
            Way::Delta => "delta alone",
            Way::Cheapest => "cheapest, as devices do",
        }
    }
}

impl WayCosts {
    /// Bytes that a device fetches this way. An image that no delta makes comes from its full payload.
    pub fn of(&self, way: Way) -> u64 {
        let Costs { full, booted, delta, cheapest, .. } = self.costs;
        match way {
            Way::Full => full,
            Way::BlockHashes => self.block_hashes,
            Way::Booted => booted,
            Way::Delta => delta.unwrap_or(full),
            Way::Cheapest => cheapest,
        }
    }
}

impl Add for WayCosts {
    type Output = WayCosts;

    fn add(self, other: WayCosts) -> WayCosts {
        WayCosts {
            costs: self.costs + other.costs,
            block_hashes: self.block_hashes + other.block_hashes,
        }
    }
}

/// A rate in megabits a second; more than nothing.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Bits(f64);

/// Not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("give megabits a second, as in 20 or 0.5")]
pub struct NoRate;

impl Bits {
    /// What so many bytes take.
    pub fn time(self, bytes: u128) -> Time {
        Time(bytes as f64 * 8.0 / (self.0 * 1e6))
    }
}

impl std::str::FromStr for Bits {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        let rate: f64 = text.parse().map_err(|_| NoRate)?;
        if rate.is_finite() && rate >= 1e-6 { Ok(Self(rate)) } else { Err(NoRate) }
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Mbit/s", self.0)
    }
}

/// Bytes for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u128);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1024 {
            return write!(f, "{} bytes", self.0);
        }
        // What is shown as 1024.0 is one of the next.
        let mut amount = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while amount >= 1023.95 && unit + 1 < units.len() {
            amount /= 1024.0;
            unit += 1;
        }
        write!(f, "{amount:.1} {}", units[unit])
    }
}

/// Seconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Time(f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 59.95 {
            return write!(f, "{:.1} s", self.0);
        }
        // A time beyond all numbers is the largest.
        let seconds = self.0.round() as u64;
        let minutes = seconds.saturating_add(30) / 60;
        match (minutes / 1440, minutes / 60 % 24) {
            _ if seconds < 3600 => write!(f, "{} min {:02} s", seconds / 60, seconds % 60),
            (0, hours) => write!(f, "{hours} h {:02} min", minutes % 60),
            (days, hours) => write!(f, "{days} d {hours:02} h"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_add_up_over_images() {
        let costs = |delta| WayCosts {
            costs: Costs { full: 100, target: 100, booted: 80, delta, cheapest: 15 },
            block_hashes: 90,
        };
        let both = costs(Some(20)) + costs(None);
        assert_eq!(Way::ALL.map(|way| both.of(way)), [200, 180, 160, 120, 30]);
        assert_eq!((costs(None) + costs(None)).of(Way::Delta), 200);
    }

    #[test]
    fn bytes_and_seconds_are_told_in_units_of_their_size() {
        for (bytes, said) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (200 << 20, "200.0 MiB"),
            (3 << 50, "3.0 PiB"),
            (5000 << 50, "5000.0 PiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), said, "{bytes}");
        }
        for (seconds, said) in [
            (0.04, "0.0 s"),
            (59.9, "59.9 s"),
            (59.99, "1 min 00 s"),
            (3599.0, "59 min 59 s"),
            (3600.0, "1 h 00 min"),
            (7260.0, "2 h 01 min"),
            (90_000.0, "1 d 01 h"),
        ] {
            assert_eq!(Time(seconds).to_string(), said, "{seconds}");
        }
        assert_eq!("8".parse::<Bits>().unwrap().time(3_000_000), Time(3.0));
    }

    #[test]
    fn a_rate_is_a_number_of_megabits() {
        for bad in ["", "0", "-1", "nan", "inf", "20M", "1e-9"] {
            assert_eq!(bad.parse::<Bits>(), Err(NoRate), "{bad}");
        }
        assert_eq!("0.5".parse::<Bits>().unwrap().to_string(), "0.5 Mbit/s");
    }
}
