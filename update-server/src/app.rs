//! What every request can reach.

use std::sync::{Arc, RwLock};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::deltas::{DeltaBudget, Deltas};
use crate::last_seen::LastSeen;
use crate::metrics::Metrics;
use crate::payloads::PayloadFolder;
use crate::publish::{PublishError, Publisher};
use crate::rollout::Policy;
use crate::store::{Room, Store, StoreError};
use crate::timestamp_keys::TimestampKeys;

/// A device without a pin is kept this long after its last word. One that comes back later is a
/// new device to the server, and loses nothing but its history here.
pub const DEVICE_KEPT: SignedDuration = SignedDuration::from_hours(180 * 24);
/// Devices removed in one transaction.
const FORGOTTEN_AT_ONCE: u32 = 100;

/// How a server is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What devices are told to wait between polls.
    pub poll_seconds: u32,
    /// What is kept of devices at most.
    pub room: Room,
    /// What making deltas may take.
    pub deltas: DeltaBudget,
}

impl Default for Settings {
    fn default() -> Self {
        Self { poll_seconds: 300, room: Room::default(), deltas: DeltaBudget::default() }
    }
}

/// Says what time it is.
pub type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// The running server, without its sockets.
pub struct App {
    /// What outlives the process.
    pub store: Arc<dyn Store>,
    /// Uploaded files.
    pub payloads: PayloadFolder,
    /// Polls not yet written to the store.
    pub last_seen: LastSeen,
    /// Counters since the start.
    pub metrics: Metrics,
    /// The signed repository.
    pub publisher: Publisher,
    /// The deltas that the server makes by itself.
    pub deltas: Deltas,
    /// What devices are told to wait between polls.
    pub poll_seconds: u32,
    clock: Clock,
    policy: RwLock<Arc<Policy>>,
    refreshing: Mutex<()>,
}

impl App {
    /// Reads what is needed in memory out of the store.
    pub async fn new(
        store: Arc<dyn Store>,
        payloads: PayloadFolder,
        timestamp_keys: impl Into<TimestampKeys>,
        settings: Settings,
    ) -> Result<Self, PublishError> {
        let policy = RwLock::new(Arc::new(store.policy().await?));
        let publisher = Publisher::open(&*store, timestamp_keys.into()).await?;
        Ok(Self {
            store,
            payloads,
            last_seen: LastSeen::default(),
            metrics: Metrics::default(),
            publisher,
            deltas: Deltas::within(settings.deltas),
            poll_seconds: settings.poll_seconds,
            clock: Box::new(Timestamp::now),
            policy,
            refreshing: Mutex::new(()),
        })
    }

    /// The same by another clock than the system's.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The policy that polls are answered from.
    pub fn policy(&self) -> Arc<Policy> {
        // A poisoned lock still holds a whole policy: it is replaced in one step.
        let policy = self.policy.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        Arc::clone(&policy)
    }

    /// Takes over what an operator just changed. An answer to the operator after
    /// this means that the next poll heeds it.
    pub async fn refresh_policy(&self) -> Result<(), StoreError> {
        // Read and replaced under one lock, so an older policy never wins.
        let _one_at_a_time = self.refreshing.lock().await;
        let fresh = Arc::new(self.store.policy().await?);
        if *fresh != *self.policy() {
            *self.policy.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = fresh;
            self.deltas.reconsider();
        }
        Ok(())
    }

    /// Forgets devices that were not heard of for [`DEVICE_KEPT`]; says how many.
    pub async fn forget_unseen(&self, now: Timestamp) -> Result<u64, StoreError> {
        let since = now - DEVICE_KEPT;
        let mut forgotten = 0;
        loop {
            // In steps: reports and polls are not to wait for all of them.
            let some = self.store.forget_unseen(since, FORGOTTEN_AT_ONCE).await?;
            forgotten += some;
            if some < u64::from(FORGOTTEN_AT_ONCE) {
                return Ok(forgotten);
            }
        }
    }

    /// Writes down the polls so far.
    pub async fn flush_last_seen(&self) -> Result<(), StoreError> {
        let checks = self.last_seen.take();
        if checks.is_empty() {
            return Ok(());
        }
        let let_go = self.store.record_checks(checks).await?;
        self.metrics.let_go(let_go);
        Ok(())
    }

    /// Now, in whole seconds: what the store keeps.
    pub fn now(&self) -> Timestamp {
        let now = (self.clock)();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }
}
