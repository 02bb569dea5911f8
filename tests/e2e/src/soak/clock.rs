use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A clock that runs fast, the same in every process that is told of it: a timestamp's two days are
/// over in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastClock {
    /// When it was right, in milliseconds since 1970.
    began_ms: i64,
    /// Its seconds in a second.
    speed: i64,
}

impl FastClock {
    /// One that is right now.
    pub fn starting_now(speed: i64) -> Self {
        Self { began_ms: system_ms(), speed }
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        self.at(system_ms())
    }

    /// What it showed at a moment of the system's clock, in milliseconds since 1970.
    pub fn at(&self, system_ms: i64) -> Timestamp {
        let shown = (system_ms - self.began_ms).saturating_mul(self.speed) + self.began_ms;
        Timestamp::from_millisecond(shown).unwrap_or(Timestamp::MAX)
    }
}

impl std::fmt::Display for FastClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.began_ms, self.speed)
    }
}

impl FromStr for FastClock {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('x').and_then(|(began, speed)| {
            Some(Self { began_ms: began.parse().ok()?, speed: speed.parse().ok()? })
        });
        parts.ok_or("not the milliseconds of its start, `x`, and its speed")
    }
}

fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
