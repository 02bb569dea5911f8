use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde::Deserialize;

/// A duration in whole seconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Seconds(u32);

impl Seconds {
    /// For defaults: `seconds` is clamped to at least one.
    pub const fn of(seconds: u32) -> Self {
        Self(if seconds == 0 { 1 } else { seconds })
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl TryFrom<u32> for Seconds {
    type Error = &'static str;

    fn try_from(seconds: u32) -> Result<Self, Self::Error> {
        if seconds == 0 { Err("it must be at least one second") } else { Ok(Self(seconds)) }
    }
}

/// The base URL of the update server: https, or http where this text says so.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerUrl {
    text: String,
    parsed: reqwest::Url,
}

impl ServerUrl {
    /// Without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Parsed, for building other URLs.
    pub fn url(&self) -> &reqwest::Url {
        &self.parsed
    }

    /// Whether only https may be spoken.
    pub fn secure(&self) -> bool {
        self.parsed.scheme() == "https"
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let url = reqwest::Url::parse(&text)
            .map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
            return Err(format!("`{text}` is not a URL with https (or http) and a host"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("`{text}` has a query or fragment: give the base URL alone"));
        }
        Ok(Self { text: text.trim_end_matches('/').to_owned(), parsed: url })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One health check, by what it asks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// A systemd unit is active.
    Systemd {
        /// The unit, with its suffix.
        unit: String,
        /// Deadline of one look.
        timeout_seconds: Option<Seconds>,
    },
    /// A command exits with 0.
    Command {
        /// Program and arguments; no shell.
        command: Vec<String>,
        /// Deadline of one run.
        timeout_seconds: Option<Seconds>,
    },
    /// A URL answers with a status from 200 to 299.
    Http {
        /// The URL; redirects are not followed.
        url: String,
        /// Deadline of one request.
        timeout_seconds: Option<Seconds>,
    },
    /// An address takes a connection.
    Tcp {
        /// Host and port.
        address: String,
        /// Deadline of one attempt.
        timeout_seconds: Option<Seconds>,
    },
}

/// How the reboot strategy is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrategyName {
    /// As soon as everything is ready.
    Immediate,
    /// In a window of the week.
    Window,
    /// A person reboots.
    Manual,
}

/// When the device reboots into an activated slot.
#[derive(Debug, Clone, PartialEq)]
pub enum Strategy {
    /// As soon as everything is ready.
    Immediate,
    /// In one of these windows, in this time zone.
    Windows {
        /// The zone.
        zone: TimeZone,
        /// At least one.
        windows: Vec<Window>,
    },
    /// A person reboots.
    Manual,
}

/// A part of the week in which a reboot may begin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it opens; none: every day.
    #[serde(default)]
    pub days: Vec<Day>,
    /// When it opens, `HH:MM`.
    pub start: TimeOfDay,
    /// How long it is open, at most a day.
    pub minutes: u16,
}

/// A day of the week, by its first three letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// The calendar's name for it.
    pub fn weekday(self) -> Weekday {
        match self {
            Day::Mon => Weekday::Monday,
            Day::Tue => Weekday::Tuesday,
            Day::Wed => Weekday::Wednesday,
            Day::Thu => Weekday::Thursday,
            Day::Fri => Weekday::Friday,
            Day::Sat => Weekday::Saturday,
            Day::Sun => Weekday::Sunday,
        }
    }
}

/// A time of day to the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeOfDay(pub Time);

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(hour, minute)| {
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        });
        parts.map(Self).ok_or_else(|| format!("`{text}` is not a time of day such as 02:30"))
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What a metered or shared link may be used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DownloadSettings {
    /// Payload bytes per second. `None`: as fast as they come.
    pub bytes_per_second: Option<u64>,
    /// `None`: any number of bytes.
    pub budget: Option<Budget>,
    /// What is dearer.
    pub save: Save,
}

/// What the way to a release is chosen by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Save {
    /// The fewest bytes: deltas are used.
    #[default]
    Bytes,
    /// The least work for the device: no segment is made of old content.
    Time,
}

/// So many payload bytes in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes, enough for the trees and a segment.
    pub bytes: u64,
    /// From the first byte on.
    pub period: SignedDuration,
}

/// How an install shares processors and disks with the device's work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// It stands back behind the device's work.
    #[default]
    Low,
    /// As any other program.
    Normal,
}

/// Where hooks are and how long they may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSettings {
    /// Folders with one folder per moment.
    pub folders: Vec<std::path::PathBuf>,
    /// For all the hooks of one moment together.
    pub deadline: Duration,
}
