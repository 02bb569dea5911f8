use std::fmt;

use serde::Serialize;

use crate::repository::State;
use crate::trust::{Role, UnixTime};

/// When what is published now ends.
#[derive(Debug, Serialize)]
pub(super) struct ExpiryReport {
    #[serde(skip)]
    done: &'static str,
    snapshot: Option<u64>,
    expires: Vec<Expiry>,
}

#[derive(Debug, Serialize)]
struct Expiry {
    role: String,
    at: UnixTime,
    expired: bool,
}

impl ExpiryReport {
    /// `done` says in one word what became of the snapshot: "published".
    pub(super) fn of(state: &State, done: &'static str, now: UnixTime) -> Self {
        let expiry = |(role, at): (Role, UnixTime)| {
            let role = role.to_string();
            Expiry { role, at, expired: at <= now }
        };
        let expires = state.expiries().into_iter().map(expiry).collect();
        Self { done, snapshot: state.snapshot_version(), expires }
    }
}

impl fmt::Display for ExpiryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(version) = self.snapshot {
            writeln!(f, "{} snapshot {version}", self.done)?;
        }
        self.expires.iter().try_for_each(|Expiry { role, at, expired }| {
            let verb = if *expired { "expired" } else { "expires" };
            writeln!(f, "{role} {verb} at {at}")
        })
    }
}
