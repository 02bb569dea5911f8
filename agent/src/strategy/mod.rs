//! When the device may reboot into an activated slot: a pure function of the
//! strategy, what inhibits it, and the time.

mod inhibit;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::{Deserialize, Serialize};

pub use inhibit::inhibitors;

use crate::config::{Strategy, Window};

/// Whether the reboot may happen now, and if not, what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reboot", rename_all = "snake_case")]
pub enum RebootLeave {
    /// Now.
    Now,
    /// When the next window opens.
    At {
        /// The moment.
        time: Timestamp,
    },
    /// When these have let go.
    Inhibited {
        /// Names of who holds it.
        by: Vec<String>,
    },
    /// When a person reboots.
    ByHand,
}

/// Asks the strategy.
pub fn reboot_leave(strategy: &Strategy, inhibitors: &[String], now: Timestamp) -> RebootLeave {
    if !inhibitors.is_empty() && *strategy != Strategy::Manual {
        return RebootLeave::Inhibited { by: inhibitors.to_vec() };
    }
    match strategy {
        Strategy::Immediate => RebootLeave::Now,
        Strategy::Manual => RebootLeave::ByHand,
        Strategy::Windows { zone, windows } => {
            match windows.iter().filter_map(|window| opening(window, zone, now)).min() {
                Some(time) if time <= now => RebootLeave::Now,
                Some(time) => RebootLeave::At { time },
                None => RebootLeave::ByHand,
            }
        }
    }
}

/// When the window that is open at `now` opened, or the next one opens. `None`
/// only at the end of representable time.
fn opening(window: &Window, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let today = now.to_zoned(zone.clone()).date();
    let open_for = SignedDuration::from_mins(window.minutes.into());
    // Yesterday's may still be open; a week from now each weekday has come once.
    (-1i64..=7).find_map(|days| {
        let date = today.checked_add(SignedDuration::from_hours(24 * days)).ok()?;
        let listed = window.days.iter().any(|day| day.weekday() == date.weekday());
        if !(window.days.is_empty() || listed) {
            return None;
        }
        // A start that a clock change skips opens as much later.
        let start: Zoned = date.to_datetime(window.start.0).to_zoned(zone.clone()).ok()?;
        let end = start.timestamp().checked_add(open_for).ok()?;
        (now < end).then(|| start.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Folders, Settings};

    fn strategy(text: &str) -> Strategy {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.toml"), text).unwrap();
        Settings::read(&Folders(vec![folder.path().to_owned()])).unwrap().strategy
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(strategy: &Strategy, now: &str, expected: &str) {
        let found = match reboot_leave(strategy, &[], at(now)) {
            RebootLeave::Now => "now".to_owned(),
            RebootLeave::At { time } => time.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(found, expected, "at {now}");
    }

    #[test]
    fn windows_of_the_week() {
        let text = "[reboot]\nstrategy = \"window\"\nwindows = [\n { days = [\"sat\"], start = \"23:30\", minutes = 60 },\n { days = [\"mon\"], start = \"02:00\", minutes = 1 } ]";
        let weekly = strategy(text);
        // 2026-11-21 is a Saturday.
        check(&weekly, "2026-11-21T23:29:59Z", "2026-11-21T23:30:00Z");
        check(&weekly, "2026-11-21T23:30:00Z", "now");
        check(&weekly, "2026-11-22T00:29:59Z", "now");
        check(&weekly, "2026-11-22T00:30:00Z", "2026-11-23T02:00:00Z");
        check(&weekly, "2026-11-23T02:01:00Z", "2026-11-28T23:30:00Z");
    }

    #[test]
    fn a_window_is_in_its_own_time_zone_and_meets_clock_changes() {
        let text = "[reboot]\nstrategy = \"window\"\ntime_zone = \"Europe/Berlin\"\nwindows = [{ start = \"02:30\", minutes = 20 }]";
        let nightly = strategy(text);
        check(&nightly, "2026-11-21T00:00:00Z", "2026-11-21T01:30:00Z");
        check(&nightly, "2026-07-21T00:00:00Z", "2026-07-21T00:30:00Z");
        // 02:30 does not exist on 29 March 2026: it opens an hour later by that clock.
        check(&nightly, "2026-03-29T00:00:00Z", "2026-03-29T01:30:00Z");
    }

    #[test]
    fn inhibitors_hold_back_all_but_people() {
        let backup = ["backup".to_owned()];
        let held = reboot_leave(&Strategy::Immediate, &backup, at("2026-11-21T00:00:00Z"));
        assert_eq!(held, RebootLeave::Inhibited { by: backup.to_vec() });
        assert_eq!(
            reboot_leave(&Strategy::Manual, &backup, Timestamp::UNIX_EPOCH),
            RebootLeave::ByHand
        );
        assert_eq!(
            reboot_leave(&Strategy::Immediate, &[], Timestamp::UNIX_EPOCH),
            RebootLeave::Now
        );
    }
}
