use jiff::{SignedDuration, Timestamp};
use payload_tools::format::{Channel, Release};
use serde::{Deserialize, Serialize};

use super::{Named, Report};

/// What was learned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Releases that failed their trial.
    pub failed: Vec<Condemned>,
    /// Releases whose trial failed while the environment was to blame.
    pub excused: Vec<Excused>,
    /// The release that a rollback left.
    pub held: Option<Held>,
    /// The release that a person pinned.
    pub pinned: Option<Release>,
    /// The channel that a person chose.
    pub channel: Option<Channel>,
    /// The highest counter confirmed here.
    pub counter_floor: u64,
    /// What happened, oldest first, at most [`FORGOTTEN_AFTER`].
    pub history: Vec<Report>,
}

/// Entries of the history that are kept.
pub const FORGOTTEN_AFTER: usize = 200;
/// The longest wait of an excused release.
pub(super) const EXCUSE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Bytes of a reason that are kept. Servers word some of them, and all of them
/// have to fit the journal many times.
const REASON_MAX: usize = 1024;

/// A release that failed its trial here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condemned {
    /// The release.
    #[serde(flatten)]
    pub named: Named,
    /// Why.
    pub reason: String,
    /// When it was noticed.
    pub at: Timestamp,
}

/// A release that failed its trial while the slot left behind was no better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excused {
    /// The release.
    #[serde(flatten)]
    pub named: Named,
    /// Why.
    pub reason: String,
    /// Trials so far.
    pub trials: u32,
    /// Not tried again before.
    pub until: Timestamp,
}

/// A release that a person left by a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The release.
    #[serde(flatten)]
    pub named: Named,
    /// Since when.
    pub since: Timestamp,
}

impl Excused {
    /// Whether it is not tried again yet. An end beyond the longest wait was
    /// noted by a clock that was wrong.
    pub fn waits(&self, now: Timestamp) -> bool {
        let latest = now.saturating_add(EXCUSE_MAX).unwrap_or(Timestamp::MAX);
        now < self.until && self.until <= latest
    }
}

/// As much of a reason as is kept.
pub(super) fn cut(reason: &str) -> String {
    if reason.len() <= REASON_MAX {
        return reason.to_owned();
    }
    format!("{}...", &reason[..reason.floor_char_boundary(REASON_MAX)])
}

impl Memory {
    /// Why a release failed here, if it did.
    pub fn failure_of(&self, release: &Release) -> Option<&Condemned> {
        self.failed.iter().find(|failed| failed.named.release == *release)
    }

    /// Appends to the history and forgets the oldest.
    pub fn note(&mut self, report: Report) {
        self.history.push(report);
        let surplus = self.history.len().saturating_sub(FORGOTTEN_AFTER);
        self.history.drain(..surplus);
    }

    /// Remembers a failed trial.
    pub fn condemn(&mut self, named: &Named, reason: &str, at: Timestamp) {
        self.failed.retain(|failed| failed.named.release != named.release);
        self.excused.retain(|excused| excused.named.release != named.release);
        self.failed.push(Condemned { named: named.clone(), reason: cut(reason), at });
    }

    /// Forgets that a release failed: a person wants it tried again.
    pub fn forgive(&mut self, release: &Release) {
        self.failed.retain(|failed| failed.named.release != *release);
        self.excused.retain(|excused| excused.named.release != *release);
    }

    /// Forgets every doubt about a release that now runs confirmed.
    pub fn absolve(&mut self, release: &Release) {
        self.forgive(release);
        if self.held.as_ref().is_some_and(|held| held.named.release == *release) {
            self.held = None;
        }
    }
}
