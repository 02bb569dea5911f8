//! Polls wait here and are written together: one sync every few seconds
//! instead of one for each poll. A crash loses the last few "seen at".

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::names::DeviceId;
use crate::store::CheckRecord;

/// Devices held in memory at most; beyond, the poll itself waits for a flush.
const PENDING_MAX: usize = 20_000;

/// The newest poll of each device since the last flush.
#[derive(Default)]
pub struct LastSeen {
    pending: Mutex<HashMap<DeviceId, CheckRecord>>,
}

/// Whether there is room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlog {
    /// There is.
    Small,
    /// Flush before answering.
    Full,
}

impl LastSeen {
    /// Remembers a poll.
    pub fn note(&self, check: CheckRecord) -> Backlog {
        let mut pending = self.lock();
        pending.insert(check.device.clone(), check);
        if pending.len() < PENDING_MAX { Backlog::Small } else { Backlog::Full }
    }

    /// Hands over what was remembered.
    pub fn take(&self) -> Vec<CheckRecord> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, CheckRecord>> {
        // Nothing that panics runs under the lock.
        self.pending.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
