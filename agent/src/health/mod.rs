//! Whether a slot does what it is for. Every configured check must pass; one is
//! built in: the slot reaches its update server and verifies its answer, or a
//! bad release could never be replaced by a good one.

mod look;

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use look::chain;
pub use look::{Complaint, look};

use crate::config::HealthSettings;
use crate::update::Probe;

/// Proof that every check passed. Only [`probe`] makes one.
#[derive(Debug)]
pub struct Healthy(());

/// Patience with a slot that is still coming up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// One look.
    Once,
    /// Looks until all is good or the deadline has passed.
    UntilDeadline,
}

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs all the checks. `server` is the built-in one.
///
/// # Errors
/// What the last look complained of, by name of check.
pub async fn probe<F, S>(
    settings: &HealthSettings,
    patience: Patience,
    server: F,
) -> Result<Healthy, Vec<Complaint>>
where
    F: Fn() -> S,
    S: Future<Output = Result<(), String>>,
{
    let deadline = Instant::now() + settings.deadline;
    loop {
        let mut complaints = Vec::new();
        for (name, check) in &settings.checks {
            complaints.extend(look(name, check).await.err());
        }
        if settings.update_server {
            let problem = server().await.err();
            complaints.extend(problem.map(|problem| Complaint::new("update-server", problem)));
        }
        if complaints.is_empty() {
            return Ok(Healthy(()));
        }
        if patience == Patience::Once || Instant::now() + PAUSE >= deadline {
            return Err(complaints);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The verdict as the machine wants it.
pub fn verdict(result: &Result<Healthy, Vec<Complaint>>) -> Probe {
    match result {
        Ok(_) => Probe::Good,
        Err(complaints) => {
            let reasons: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
            Probe::Bad { reason: reasons.join("; ") }
        }
    }
}

#[cfg(test)]
mod tests;
