//! Whether this device takes an offered release: a pure function of what the
//! publisher signed, what the device remembers, and what runs. The server's
//! word is an offer; it overrules none of this.

use jiff::Timestamp;
use payload_tools::trust::policy::{Direction, Refusal};
use serde::{Deserialize, Serialize};

use super::life::Then;
use super::{Change, Memory, Motive, Named, Seen, Way};
use crate::install::Costs;

/// A release that somebody offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which.
    pub named: Named,
    /// Whether its publisher signed that this device may go to it from here.
    pub admission: Result<Direction, Refusal>,
    /// Where it comes from.
    pub source: Source,
    /// What it costs to fetch, where somebody wanted to know.
    pub costs: Option<Costs>,
}

/// Where an offer comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The update server.
    Server,
    /// A bundle at this path.
    Bundle(std::path::PathBuf),
}

/// What to do about an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It runs already.
    UpToDate,
    /// Take it.
    Take(Change),
    /// Leave it.
    Leave(Reason),
}

/// Why an offered release is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Reason {
    /// This boot of the device takes nothing.
    #[error("this boot cannot take a release: {detail}")]
    Unfit {
        /// What is wrong with it.
        detail: String,
    },
    /// A person pinned another release.
    #[error("the device is pinned to release {to}: `updatectl unpin` lets go")]
    Pinned {
        /// The pinned release.
        to: String,
    },
    /// A rollback left it.
    #[error("a rollback left it: `updatectl update` takes it again")]
    Held,
    /// Its trial failed here.
    #[error("it failed here: {reason}; `updatectl update --retry-failed` tries it again")]
    FailedBefore {
        /// Why.
        reason: String,
    },
    /// Its trial failed while the environment was to blame.
    #[error("its trial failed, but so did the old release ({reason}): tried again after {until}")]
    Excused {
        /// Why.
        reason: String,
        /// When.
        until: Timestamp,
    },
    /// As much was fetched as the configuration allows.
    #[error(
        "the download budget is spent: it is fetched after {until:.0}, or once download.budget_bytes is raised"
    )]
    OverBudget {
        /// When it is had anew.
        until: Timestamp,
    },
    /// Its publisher did not sign that this device may go to it from here.
    #[error("{detail}")]
    Inadmissible {
        /// What the signed facts forbid.
        detail: String,
    },
}

/// Decides about an offer.
pub fn decide(offer: &Offer, then: Then, memory: &Memory, seen: &Seen, now: Timestamp) -> Decision {
    let named = &offer.named;
    let Ok((booted, other)) = seen.pair() else { return Decision::UpToDate };
    if booted.named.as_ref() == Some(named) {
        return Decision::UpToDate;
    }
    if let Some(detail) = seen.unfit.clone() {
        return Decision::Leave(Reason::Unfit { detail });
    }
    if let Some(reason) = doubt(offer, then, memory, now) {
        return Decision::Leave(reason);
    }
    // Confirmed: every byte was read back before its trial, and it ran.
    let installed = other.confirmed() && other.named.as_ref() == Some(named);
    let downgrade = match &offer.admission {
        Ok(direction) => *direction == Direction::SignedDowngrade,
        // A person may go back to what is there, as by a rollback. A server may
        // not: it would bring back what a newer release mended.
        Err(Refusal::Downgrade { .. }) if installed && brought(offer) => false,
        Err(refusal) => {
            return Decision::Leave(Reason::Inadmissible { detail: refusal.to_string() });
        }
    };
    if let Some(until) = seen.over_budget.filter(|_| !installed && !brought(offer)) {
        return Decision::Leave(Reason::OverBudget { until });
    }
    Decision::Take(Change {
        to: Some(named.clone()),
        from: booted.named.clone(),
        slot: other.letter,
        way: if installed { Way::Installed } else { Way::Install },
        motive: motive(&offer.source, downgrade),
    })
}

/// Whether a person brought it, rather than a server.
fn brought(offer: &Offer) -> bool {
    matches!(offer.source, Source::Bundle(_))
}

fn motive(source: &Source, downgrade: bool) -> Motive {
    match source {
        Source::Server => Motive::Channel { downgrade },
        Source::Bundle(path) => Motive::Bundle { path: path.clone(), downgrade },
    }
}

/// What the device or its people hold against a release. A person who asks for
/// an update has lifted the hold before; a person who brings a bundle names the
/// release, which overrules hold and pin.
fn doubt(offer: &Offer, then: Then, memory: &Memory, now: Timestamp) -> Option<Reason> {
    let named = &offer.named;
    let brought = brought(offer);
    if let Some(pinned) = memory.pinned.as_ref().filter(|pin| !brought && **pin != named.release) {
        return Some(Reason::Pinned { to: pinned.to_string() });
    }
    if memory.held.as_ref().is_some_and(|held| !brought && held.named.release == named.release) {
        return Some(Reason::Held);
    }
    if then == Then::Retry {
        return None;
    }
    if let Some(failed) = memory.failure_of(&named.release) {
        return Some(Reason::FailedBefore { reason: failed.reason.clone() });
    }
    let excused = memory.excused.iter().find(|excused| excused.named == *named)?;
    (then == Then::Update && excused.waits(now))
        .then(|| Reason::Excused { reason: excused.reason.clone(), until: excused.until })
}

#[cfg(test)]
mod tests;
