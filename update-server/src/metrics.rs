//! Counters since the start, and the Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use payload_tools::trust::Role;

use crate::deltas::{DeltaFigures, RowState};
use crate::expiry::Expiry;
use crate::names::EventWord;
use crate::rollout::Verdict;
use crate::store::{EventKind, Repository, Standing};

/// Counters since the start.
#[derive(Default)]
pub struct Metrics {
    checks: Mutex<BTreeMap<Verdict, u64>>,
    /// `None`: kinds that only newer devices know.
    events: Mutex<BTreeMap<Option<EventKind>, u64>>,
    /// Bytes of manifests, payloads and metadata handed to devices.
    pub bytes_served: AtomicU64,
    let_go: AtomicU64,
    saved: AtomicU64,
}

impl Metrics {
    /// Counts an answered poll.
    pub fn checked(&self, verdict: Verdict) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        *checks.entry(verdict).or_default() += 1;
    }

    /// Counts events that were new.
    pub fn reported(&self, kinds: &[EventWord]) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        for kind in kinds {
            *events.entry(EventKind::of(kind)).or_default() += 1;
        }
    }

    /// Counts devices that were forgotten because there were too many.
    pub fn let_go(&self, devices: u64) {
        self.let_go.fetch_add(devices, Ordering::Relaxed);
    }

    /// Counts bytes of a delta that were sent, by what the whole delta saves of the full payload.
    pub fn sent_of_delta(&self, bytes: u64, delta_bytes: u64, full_bytes: u64) {
        let (sent, saves) = (u128::from(bytes), full_bytes.saturating_sub(delta_bytes));
        let saved = sent * u128::from(saves) / u128::from(delta_bytes.max(1));
        let saved = u64::try_from(saved).unwrap_or(u64::MAX);
        self.saved.fetch_add(saved, Ordering::Relaxed);
    }

    /// How many devices were forgotten because there were too many.
    pub fn devices_let_go(&self) -> u64 {
        self.let_go.load(Ordering::Relaxed)
    }

    /// The Prometheus text (exposition format 0.0.4).
    pub fn render(
        &self,
        deltas: &DeltaFigures,
        standing: &[Standing],
        repository: Option<&Repository>,
        expiries: &[Expiry],
        now: Timestamp,
    ) -> String {
        let mut page = Page::default();
        page.head("seesaw_checks_total", "counter", "Polls by answer.");
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for verdict in Verdict::all() {
            let labels = [("action", verdict.action()), ("reason", verdict.reason())];
            page.sample(&labels, checks.get(&verdict).copied().unwrap_or(0));
        }
        page.head("seesaw_events_total", "counter", "New device events by kind.");
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for kind in EventKind::ALL.iter().copied().map(Some).chain([None]) {
            let word = kind.map_or("other", EventKind::as_str);
            page.sample(&[("kind", word)], events.get(&kind).copied().unwrap_or(0));
        }
        page.head("seesaw_bytes_served_total", "counter", "Bytes of files sent to devices.");
        page.sample(&[], self.bytes_served.load(Ordering::Relaxed));
        page.head(
            "seesaw_devices_let_go_total",
            "counter",
            "Devices forgotten because there were too many.",
        );
        page.sample(&[], self.devices_let_go());
        page.head(
            "seesaw_devices",
            "gauge",
            "Devices by the published release of their last poll; empty: another.",
        );
        for Standing { compatible, release, devices } in standing {
            let compatible = compatible.as_ref().map_or("", |compatible| compatible.as_str());
            let release = release.as_ref().map_or("", |release| release.as_str());
            page.sample(&[("compatible", compatible), ("release", release)], *devices);
        }
        page.deltas(deltas, self.saved.load(Ordering::Relaxed));
        if let Some(repository) = repository {
            let left = repository.timestamp_expires.as_second() - now.as_second();
            page.head("seesaw_timestamp_expiry_seconds", "gauge", "Until the timestamp expires.");
            page.sample(&[], left);
            page.head("seesaw_snapshot_version", "gauge", "Version that devices see.");
            page.sample(&[], repository.snapshot_version);
            page.expiries(expiries, now);
        }
        page.text
    }
}

#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn head(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn deltas(&mut self, figures: &DeltaFigures, saved: u64) {
        self.head("seesaw_deltas", "gauge", "Deltas that the fleet could use, by their state.");
        for word in RowState::WORDS {
            let rows = figures.rows.iter().filter(|row| row.state.word() == word);
            self.sample(&[("state", word)], rows.count());
        }
        self.head("seesaw_deltas_kept_bytes", "gauge", "Bytes of deltas made here.");
        self.sample(&[], figures.kept_bytes);
        self.head(
            "seesaw_delta_bytes_saved_total",
            "counter",
            "Bytes of full payloads that sent deltas stood in for, less their own.",
        );
        self.sample(&[], saved);
    }

    /// The snapshot's apart: it is the one that must be signed again every quarter.
    fn expiries(&mut self, expiries: &[Expiry], now: Timestamp) {
        let (snapshot, others): (Vec<_>, Vec<_>) =
            expiries.iter().partition(|expiry| expiry.role == Role::Snapshot);
        self.head("seesaw_snapshot_expiry_seconds", "gauge", "Until the snapshot expires.");
        for expiry in snapshot {
            self.sample(&[], expiry.seconds_left(now));
        }
        self.head("seesaw_role_expiry_seconds", "gauge", "Until root, targets, a role expires.");
        for expiry in others {
            let role = expiry.role.to_string();
            self.sample(&[("role", &role)], expiry.seconds_left(now));
        }
    }

    /// Label values are names that need no escaping.
    fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(self.name);
        let labels: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_delta_saves_is_counted_by_the_share_that_was_sent() {
        let metrics = Metrics::default();
        let saved = || metrics.saved.load(Ordering::Relaxed);
        metrics.sent_of_delta(25, 100, 1000);
        assert_eq!(saved(), 225);
        metrics.sent_of_delta(75, 100, 1000);
        assert_eq!(saved(), 900);
        // One that a publisher uploaded although it is no smaller, and one that is damaged.
        metrics.sent_of_delta(75, 100, 90);
        metrics.sent_of_delta(0, 0, 90);
        assert_eq!(saved(), 900);
    }
}
