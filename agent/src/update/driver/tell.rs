//! What the driver tells: who asks for the status, the log, and the server.

use jiff::Timestamp;
use tracing::warn;

use super::{Driver, Shared, lock};
use crate::status::{AgentStatus, StageProgress, Status};
use crate::update::{Kind, Life, Phase, Report};

impl Driver {
    /// Reads the disk and shows it, with what the agent makes of it.
    pub(super) fn publish(&mut self) {
        let status = Status::read(&**self.boot());
        let Ok(status) = status.map_err(|error| warn!("{}", crate::chain(&error))) else { return };
        let pending = matches!(self.life.phase, Phase::Activated { .. });
        let agent = AgentStatus {
            life: self.life.clone(),
            complaints: self.shared.standing.iter().map(ToString::to_string).collect(),
            reboot: pending.then(|| self.shared.reboot_leave()),
            progress: None,
            last_boot: self.seen.last_boot.clone(),
            reports_waiting: lock(&self.shared.events).waiting(),
        };
        self.status.send_replace(Status { agent: Some(agent), ..status });
    }

    /// Tells the server only: it is no line of the history.
    pub(super) fn report_progress(&self, progress: &StageProgress) {
        let Phase::Installing { change } = &self.life.phase else { return };
        let report =
            Report::of(Kind::Progress, change, Timestamp::now(), Some(progress.to_string()));
        if let Err(error) = lock(&self.shared.events).push(report) {
            warn!("a report is lost: {error}");
        }
        self.send_reports();
    }

    pub(super) fn send_reports(&self) {
        let shared = self.shared.clone();
        tokio::spawn(async move { shared.send_reports().await });
    }
}

impl Shared {
    pub(super) async fn send_reports(&self) {
        let Some(server) = &self.server else { return };
        // One at a time, or two would send the same.
        let _turn = self.sending.lock().await;
        if let Err(error) = server.send(&self.events).await {
            warn!("{}", crate::chain(&error));
        }
    }
}

/// Where the life went on to, and how what was under way came out.
pub(super) fn news(before: &Life, life: &Life) -> Option<String> {
    let (from, to) = (before.phase.name(), life.phase.name());
    let way = if from == to { to.to_owned() } else { format!("{from} -> {to}") };
    match &life.outcome {
        Some(outcome) if before.outcome != life.outcome => {
            Some(format!("{way}: {}", outcome.verdict))
        }
        _ => (from != to).then_some(way),
    }
}
