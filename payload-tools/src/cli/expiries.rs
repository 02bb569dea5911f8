use std::fmt;

use serde::Serialize;

use crate::repository::State;
use crate::trust::{Role, UnixTime};

/// When what is published now ends.
#[derive(Debug, Serialize)]
pub(super) struct ExpiryReport {
    snapshot: Option<u64>,
    expires: Vec<Expiry>,
}

#[derive(Debug, Serialize)]
struct Expiry {
    role: String,
    at: UnixTime,
}

impl ExpiryReport {
    pub(super) fn of(state: &State) -> Self {
        let expiry = |(role, at): (Role, UnixTime)| Expiry { role: role.to_string(), at };
        let expires = state.expiries().into_iter().map(expiry).collect();
        Self { snapshot: state.snapshot_version(), expires }
    }
}

impl fmt::Display for ExpiryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut expires = self.expires.iter();
        expires.try_for_each(|Expiry { role, at }| writeln!(f, "{role} expires at {at}"))
    }
}
