//! How much may be fetched, and how fast: what the configuration says of a metered or shared link.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fs_err as fs;
use jiff::{SignedDuration, Timestamp};
use payload_tools::durable_file::{self, Existing, Readers};
use serde::{Deserialize, Serialize};

use crate::client::Anchor;
use crate::config::{Budget, DownloadSettings};
use crate::poison::lock;

const FILE: &str = "downloads.json";
/// A crash costs the budget what was noted ahead of it: a 32nd, and so many bytes at most.
const AHEAD_MAX: u64 = 4 << 20;

/// What may be fetched by now. Shared by all connections for payloads.
#[derive(Debug)]
pub struct Allowance {
    settings: DownloadSettings,
    /// Where it is remembered; `None`: not at all, on a disk without STATE.
    path: Option<PathBuf>,
    /// Whose signed facts the clock is never before.
    anchor: Option<Arc<Anchor>>,
    ledger: Mutex<Ledger>,
    bucket: Mutex<Bucket>,
    began: Instant,
}

/// The budget does not suffice for what was to be fetched next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the download budget of {budget} bytes is spent: it goes on where it was after {until:.0}, or \
     once download.budget_bytes is raised"
)]
pub struct OverBudget {
    /// Bytes of the budget.
    pub budget: u64,
    /// When it is had anew.
    pub until: Timestamp,
}

/// What of a budget was spent. Bytes count before they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Spent {
    since: Timestamp,
    bytes: u64,
    /// A budget that was too small for what came next: what is left of it is no use.
    #[serde(default)]
    too_small: Option<u64>,
}

impl Spent {
    fn nothing(now: Timestamp) -> Self {
        Self { since: now, bytes: 0, too_small: None }
    }

    /// What counts now. A clock that was set back lengthens no period.
    fn at(self, now: Timestamp, period: SignedDuration) -> Self {
        let since = self.since.min(now);
        match now.duration_since(since) < period {
            true => Self { since, ..self },
            false => Self::nothing(now),
        }
    }

    fn over(&self, budget: &Budget) -> Option<OverBudget> {
        let spent = self.bytes >= budget.bytes;
        let useless = self.too_small.is_some_and(|too_small| budget.bytes <= too_small);
        (spent || useless).then(|| self.end(budget))
    }

    fn end(&self, budget: &Budget) -> OverBudget {
        let until = self.since.saturating_add(budget.period).unwrap_or(Timestamp::MAX);
        OverBudget { budget: budget.bytes, until }
    }

    fn take(&mut self, bytes: u64, budget: &Budget) -> Result<(), OverBudget> {
        match self.bytes.checked_add(bytes).filter(|sum| *sum <= budget.bytes) {
            Some(sum) => self.bytes = sum,
            None => {
                self.too_small = Some(budget.bytes);
                return Err(self.end(budget));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Ledger {
    spent: Spent,
    /// Bytes that the file says were spent.
    noted: u64,
}

/// Spreads bytes evenly over time.
#[derive(Debug, Default)]
struct Bucket {
    /// When what was taken so far will have been paid for.
    paid_at: Duration,
}

impl Bucket {
    /// How long to wait after `bytes` came at the time `now`.
    fn take(&mut self, bytes: u64, rate: u64, now: Duration) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid_at = self.paid_at.max(now).saturating_add(cost);
        self.paid_at - now
    }
}

impl Allowance {
    /// What `settings` allow, after what was spent by what the folder `state` remembers.
    pub fn open(
        settings: DownloadSettings,
        state: Option<&Path>,
        anchor: Option<Arc<Anchor>>,
    ) -> Self {
        let path = state.map(|state| state.join(FILE));
        let read = path.as_deref().filter(|_| settings.budget.is_some()).map(read);
        let spent = read.transpose().unwrap_or_else(|error| {
            tracing::warn!("the download budget begins anew: {error}");
            None
        });
        let spent = spent.flatten().unwrap_or_else(|| Spent::nothing(now(anchor.as_deref())));
        let ledger = Mutex::new(Ledger { spent, noted: spent.bytes });
        Self { settings, path, anchor, ledger, bucket: Mutex::default(), began: Instant::now() }
    }

    /// Whether nothing may be fetched for now.
    pub fn over(&self) -> Option<OverBudget> {
        let budget = self.settings.budget?;
        lock(&self.ledger).spent.at(now(self.anchor.as_deref()), budget.period).over(&budget)
    }

    /// Takes bytes that are to be asked for from the budget.
    pub(super) fn take(&self, bytes: u64) -> Result<(), OverBudget> {
        let Some(budget) = self.settings.budget else { return Ok(()) };
        let mut ledger = lock(&self.ledger);
        ledger.spent = ledger.spent.at(now(self.anchor.as_deref()), budget.period);
        let taken = ledger.spent.take(bytes, &budget);
        if taken.is_err() {
            let spent = ledger.spent;
            self.note(&mut ledger, spent);
        } else if ledger.spent.bytes > ledger.noted {
            let ahead = ledger.spent.bytes.saturating_add((budget.bytes / 32).min(AHEAD_MAX));
            let spent = Spent { bytes: ahead.min(budget.bytes), ..ledger.spent };
            self.note(&mut ledger, spent);
        }
        taken
    }

    #[cfg(test)]
    pub(super) fn spent(&self) -> u64 {
        lock(&self.ledger).spent.bytes
    }

    /// Bytes that were taken and did not come.
    pub(super) fn give_back(&self, bytes: u64) {
        if self.settings.budget.is_some() {
            let spent = &mut lock(&self.ledger).spent;
            spent.bytes = spent.bytes.saturating_sub(bytes);
        }
    }

    /// Remembers what was really spent.
    pub(super) fn settle(&self) {
        let mut ledger = lock(&self.ledger);
        if self.settings.budget.is_some() && ledger.noted != ledger.spent.bytes {
            let spent = ledger.spent;
            self.note(&mut ledger, spent);
        }
    }

    /// How long to wait, now that so many bytes came.
    pub(super) fn pause(&self, bytes: usize) -> Duration {
        let Some(rate) = self.settings.bytes_per_second else { return Duration::ZERO };
        lock(&self.bucket).take(bytes as u64, rate, self.began.elapsed())
    }

    /// What cannot be remembered is counted all the same, as long as this program runs.
    fn note(&self, ledger: &mut Ledger, spent: Spent) {
        ledger.noted = spent.bytes;
        let Some(path) = &self.path else { return };
        let text = match serde_json::to_vec(&spent) {
            Ok(text) => text,
            Err(error) => return tracing::warn!("the download budget is not remembered: {error}"),
        };
        let written = durable_file::write(path, &text, Readers::Everyone, Existing::Replace);
        if let Err(error) = written {
            tracing::warn!("the download budget is not remembered: {error}");
        }
    }
}

/// As a check goes by: a clock that begins anew at each start ends no period, and lengthens none.
fn now(anchor: Option<&Anchor>) -> Timestamp {
    let system = Timestamp::now();
    let signed = anchor.and_then(|anchor| Timestamp::from_second(anchor.now().as_secs()).ok());
    signed.map_or(system, |signed| signed.max(system))
}

fn read(path: &Path) -> io::Result<Option<Spent>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => Ok(Some(serde_json::from_slice(&text?)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::MetadataStore;
    use payload_tools::trust::UnixTime;

    const BUDGET: Budget = Budget { bytes: 100, period: SignedDuration::from_hours(24) };

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hours * 3600).unwrap()
    }

    #[test]
    fn a_budget_is_spent_and_had_anew() {
        let mut spent = Spent::nothing(at(0));
        assert_eq!((spent.take(60, &BUDGET), spent.take(40, &BUDGET)), (Ok(()), Ok(())));
        let over = OverBudget { budget: 100, until: at(24) };
        assert_eq!(spent.over(&BUDGET), Some(over.clone()));
        assert_eq!(spent.take(1, &BUDGET), Err(over));
        for (now, still) in [(at(23), true), (at(24), false), (at(-5), true)] {
            assert_eq!(spent.at(now, BUDGET.period).over(&BUDGET).is_some(), still, "{now}");
        }
        // Set back for good, it ends a period after that.
        let back = spent.at(at(-5), BUDGET.period);
        assert_eq!(back.over(&BUDGET).unwrap().until, at(19));
    }

    /// The floor of the clock here, as that of a device whose clock stands far behind.
    #[test]
    fn a_period_is_never_before_the_newest_signed_fact() {
        let state = tempfile::tempdir().unwrap();
        let built = at(1_000_000);
        let image_built = UnixTime::from_secs(built.as_second());
        let store = MetadataStore::new(state.path().join("metadata"), image_built);
        let compatible = "demo".parse().unwrap();
        let anchor = Some(Arc::new(Anchor { store, first_root: Vec::new(), compatible }));
        let settings = DownloadSettings { budget: Some(BUDGET), ..DownloadSettings::default() };
        let allowance = Allowance::open(settings, Some(state.path()), anchor);
        allowance.take(100).unwrap();
        assert_eq!(allowance.over().unwrap().until, at(1_000_024));
    }

    #[test]
    fn what_is_too_little_for_the_next_piece_is_no_use_until_more_is_allowed() {
        let mut spent = Spent::nothing(at(0));
        spent.take(60, &BUDGET).unwrap();
        assert_eq!(spent.over(&BUDGET), None);
        spent.take(41, &BUDGET).unwrap_err();
        assert!(spent.over(&BUDGET).is_some());
        assert_eq!(spent.over(&Budget { bytes: 101, ..BUDGET }), None);
        assert!(spent.take(u64::MAX, &BUDGET).is_err());
    }

    #[test]
    fn what_was_spent_outlives_the_program_and_a_crash_costs_little() {
        let state = tempfile::tempdir().unwrap();
        let budget = Budget { bytes: 3200, ..BUDGET };
        let settings = DownloadSettings { budget: Some(budget), ..DownloadSettings::default() };
        let open = || Allowance::open(settings, Some(state.path()), None);
        let left = |allowance: &Allowance| 3200 - lock(&allowance.ledger).spent.bytes;
        let allowance = open();
        allowance.take(1000).unwrap();
        allowance.give_back(200);
        assert_eq!(left(&allowance), 2400);
        assert_eq!(left(&open()), 2100, "a crash here costs a 32nd, and what was on its way");
        allowance.settle();
        let again = open();
        assert_eq!(left(&again), 2400);
        let over = again.take(2401).unwrap_err();
        assert_eq!(open().over().map(|found| found.budget), Some(over.budget));
        std::fs::write(state.path().join(FILE), "not json").unwrap();
        assert_eq!(left(&open()), 3200);
    }

    #[test]
    fn bytes_are_spread_evenly() {
        let millis = Duration::from_millis;
        let mut bucket = Bucket::default();
        // 1000 bytes a second.
        assert_eq!(bucket.take(500, 1000, millis(0)), millis(500));
        assert_eq!(bucket.take(500, 1000, millis(100)), millis(900), "another connection's");
        assert_eq!(bucket.take(100, 1000, millis(5000)), millis(100), "idle time is not saved up");
        assert_eq!(bucket.take(0, 1000, millis(5000)), millis(100));
    }
}
