//! Whether a slot does what it is for. Every configured check must pass. What a
//! slot needs to be updated again is built in, or a bad release could never be
//! replaced by a good one: it keeps STATE, it has a root of trust, it reaches its
//! update server and verifies the answer.

mod look;
mod standing;

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

pub use look::{Complaint, look};
pub use standing::standing;

use crate::client::Tls;
use crate::config::HealthSettings;
use crate::update::Probe;

/// Proof that every check passed. Only [`probe`] makes one.
#[derive(Debug)]
pub struct Healthy(());

/// How often a slot is looked at, which may still be coming up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// One look.
    Once,
    /// Until all is good or the deadline has passed.
    UntilDeadline,
}

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs all the checks. `server` is the built-in one; `standing` is what is
/// already known to be wrong, for which waiting is no cure. Looks that go on
/// never end at once: who asks again at every answer must not run hot.
///
/// # Errors
/// What the last look complained of, by name of check.
pub async fn probe<F, S>(
    settings: &HealthSettings,
    standing: &[Complaint],
    looks: Looks,
    tls: &Tls,
    server: F,
) -> Result<Healthy, Vec<Complaint>>
where
    F: Fn() -> S,
    S: Future<Output = Result<(), String>>,
{
    let deadline = Instant::now() + settings.deadline;
    loop {
        let mut complaints = standing.to_vec();
        for (name, check) in &settings.checks {
            complaints.extend(look(name, check, tls).await.err());
        }
        if settings.update_server {
            let problem = server().await.err();
            complaints.extend(problem.map(|problem| Complaint::new("update-server", problem)));
        }
        if complaints.is_empty() {
            return Ok(Healthy(()));
        }
        if looks == Looks::Once {
            return Err(complaints);
        }
        tokio::time::sleep(PAUSE).await;
        if !standing.is_empty() || Instant::now() >= deadline {
            return Err(complaints);
        }
    }
}

/// The verdict as the machine wants it.
pub fn verdict(result: &Result<Healthy, Vec<Complaint>>) -> Probe {
    match result {
        Ok(_) => Probe::Good,
        Err(complaints) => Probe::Bad { reason: joined(complaints) },
    }
}

/// Complaints in one line.
pub fn joined(complaints: &[Complaint]) -> String {
    complaints.iter().map(Complaint::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
