use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Named;
use super::decide::Reason;
use crate::install::Costs;

/// How a check, an update or a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What an outcome says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Fresh metadata and the server agree that there is nothing to do.
    UpToDate {
        /// The server's reason.
        detail: String,
    },
    /// The server knows no channel for this device.
    NoChannel {
        /// Its words.
        detail: String,
    },
    /// The server withholds what there may be, or a bundle is not for this device.
    Withheld {
        /// The reason.
        detail: String,
    },
    /// A release is offered.
    Available {
        /// Which.
        named: Named,
        /// What it costs to fetch, where a person asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        costs: Option<Costs>,
    },
    /// A release is offered and not taken.
    Refused {
        /// Which.
        named: Named,
        /// Why.
        why: Reason,
    },
    /// The next boot starts another slot.
    RebootPending,
    /// The booted slot is confirmed.
    Confirmed,
    /// A trial failed.
    TrialFailed {
        /// Why.
        reason: String,
    },
    /// The freshest metadata has expired, or the server's is older than what the device knows.
    Stale {
        /// Since when.
        since: Timestamp,
        /// What the refresh met.
        error: String,
    },
    /// The server cannot be reached.
    Network {
        /// What was met.
        error: String,
    },
    /// The download budget is spent; what is written stays.
    OverBudget {
        /// When it is had anew.
        until: Timestamp,
        /// What it was spent on.
        error: String,
    },
    /// Something is not what was signed.
    Verification {
        /// What.
        error: String,
    },
    /// Writing or activating failed on this device.
    Device {
        /// What was met.
        error: String,
    },
    /// The server took the grant back.
    Withdrawn {
        /// Its reason.
        detail: String,
    },
    /// An activation was undone.
    Cancelled,
    /// What booted is unknown or mixed.
    Mixed {
        /// What disagrees.
        why: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpToDate { detail } => write!(f, "up to date: {detail}"),
            Self::NoChannel { detail } => write!(f, "no channel: {detail}"),
            Self::Withheld { detail } => write!(f, "not taken: {detail}"),
            Self::Available { named, costs } => {
                write!(f, "release {} is available", named.release)?;
                costs.iter().try_for_each(|costs| write!(f, ", {costs}"))
            }
            Self::Refused { named, why } => {
                write!(f, "release {} is not taken: {why}", named.release)
            }
            Self::RebootPending => write!(f, "activated; reboot pending"),
            Self::Confirmed => write!(f, "confirmed"),
            Self::TrialFailed { reason } => write!(f, "the trial failed: {reason}"),
            Self::Stale { since, error } => write!(f, "stale since {since}: {error}"),
            Self::Network { error } => {
                write!(f, "not known, the server was not reached: {error}")
            }
            Self::OverBudget { error, .. } => write!(f, "stopped: {error}"),
            Self::Verification { error } => write!(f, "refused: {error}"),
            Self::Device { error } => write!(f, "failed: {error}"),
            Self::Withdrawn { detail } => write!(f, "withdrawn: {detail}"),
            Self::Cancelled => write!(f, "cancelled"),
            Self::Mixed { why } => write!(f, "mixed: {why}"),
        }
    }
}
