use std::fmt::Write;

use crate::status::Status;
use crate::update::decide::Reason;
use crate::update::{Answer, Command, Objection, Phase, Verdict};

/// What a command line came to. The numbers are promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Up to date, or done.
    Done = 0,
    /// Something failed on this device.
    Failed = 1,
    /// The command line makes no sense (clap's own number).
    Usage = 2,
    /// `check`: an update is there.
    Available = 3,
    /// `update`, `install`: a release was activated; it runs after the reboot.
    Updated = 4,
    /// The next boot starts another slot.
    RebootPending = 5,
    /// What is there is held, pinned away, paused, failed before, or not admissible.
    Held = 6,
    /// No unexpired timestamp is to be had, or only one older than is known.
    Stale = 7,
    /// The server was not reached.
    Network = 8,
    /// Something is not what was signed.
    Verification = 9,
    /// What runs is unknown or mixed; nothing is confirmed, staged or written.
    Mixed = 10,
    /// The agent is at other work.
    Busy = 11,
    /// The command does not fit the state of the device.
    Refused = 12,
    /// The trial failed.
    TrialFailed = 13,
    /// The server knows no channel for this device.
    NoChannel = 14,
    /// Somebody cancelled what this command began or joined.
    Cancelled = 15,
    /// The configuration allows no more to be fetched for now.
    OverBudget = 16,
}

impl Exit {
    const ALL: [(Exit, &'static str, &'static str); 17] = [
        (Exit::Done, "done", "up to date, or done"),
        (Exit::Failed, "failed", "something failed on this device"),
        (Exit::Usage, "usage", "the command line makes no sense"),
        (Exit::Available, "available", "check: an update is there"),
        (Exit::Updated, "updated", "a release was activated; it runs after the reboot"),
        (Exit::RebootPending, "reboot_pending", "the next boot starts another slot"),
        (
            Exit::Held,
            "held",
            "what is there is held, pinned away, paused, failed before or not admissible",
        ),
        (Exit::Stale, "stale", "what is known has expired, or the server's is older still"),
        (Exit::Network, "network", "the server was not reached"),
        (Exit::Verification, "verification", "something is not what was signed"),
        (Exit::Mixed, "mixed", "what runs is unknown or mixed: nothing is written"),
        (Exit::Busy, "busy", "the agent is at other work"),
        (Exit::Refused, "refused", "the command does not fit the state of the device"),
        (Exit::TrialFailed, "trial_failed", "the trial of a release failed"),
        (Exit::NoChannel, "no_channel", "the server has no such channel, or none is named"),
        (Exit::Cancelled, "cancelled", "somebody else cancelled it"),
        (Exit::OverBudget, "over_budget", "the download budget is spent: it goes on where it was"),
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The table at the end of the help.
    pub fn table() -> String {
        let mut text = "Exit status:\n".to_owned();
        for (exit, _, meaning) in Self::ALL {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {:>2}  {meaning}", exit as u8);
        }
        text
    }

    pub(super) fn of_status(status: &Status) -> Self {
        match status.agent.as_ref().map(|agent| &agent.life.phase) {
            _ if status.mixed.is_some() => Self::Mixed,
            Some(Phase::Blocked { .. }) => Self::Mixed,
            Some(
                Phase::Activated { .. }
                | Phase::Asking { .. }
                | Phase::Leaving { .. }
                | Phase::Rebooting { .. },
            ) => Self::RebootPending,
            _ => Self::Done,
        }
    }

    pub(super) fn of_command(command: &Command, answer: &Answer, status: Option<&Status>) -> Self {
        match answer {
            Answer::Done => return Self::Done,
            Answer::Refused { refusal } => return Self::of_refusal(refusal),
            Answer::Begun => {}
        }
        let Some(status) = status else { return Self::Failed };
        let installs = matches!(command, Command::Update { .. } | Command::Install { .. });
        match Self::of_status(status) {
            Self::RebootPending if installs => Self::Updated,
            Self::RebootPending => Self::RebootPending,
            _ => status.outcome().map_or(Self::Failed, |outcome| match &outcome.verdict {
                Verdict::Cancelled if *command == Command::Cancel => Self::Done,
                verdict => Self::of_verdict(verdict),
            }),
        }
    }

    fn of_refusal(refusal: &Objection) -> Self {
        match refusal {
            Objection::Busy(_) => Self::Busy,
            Objection::RebootPending => Self::RebootPending,
            Objection::Mixed(_) => Self::Mixed,
            Objection::NothingToConfirm => Self::Done,
            Objection::NothingToRollBackTo(_)
            | Objection::NothingToCancel
            | Objection::Nameless => Self::Refused,
        }
    }

    fn of_verdict(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::UpToDate { .. } | Verdict::Confirmed => Self::Done,
            Verdict::Cancelled => Self::Cancelled,
            Verdict::Available { .. } => Self::Available,
            Verdict::Refused { why: Reason::Unfit { .. }, .. } => Self::Failed,
            Verdict::Refused { why: Reason::OverBudget { .. }, .. }
            | Verdict::OverBudget { .. } => Self::OverBudget,
            Verdict::Refused { .. } | Verdict::Withheld { .. } | Verdict::Withdrawn { .. } => {
                Self::Held
            }
            Verdict::NoChannel { .. } => Self::NoChannel,
            Verdict::RebootPending => Self::RebootPending,
            Verdict::TrialFailed { .. } => Self::TrialFailed,
            Verdict::Stale { .. } => Self::Stale,
            Verdict::Network { .. } => Self::Network,
            Verdict::Verification { .. } => Self::Verification,
            Verdict::Device { .. } => Self::Failed,
            Verdict::Mixed { .. } => Self::Mixed,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> Status {
        Status {
            source: "disk".to_owned(),
            slots: Vec::new(),
            booted: None,
            mixed: None,
            next: None,
            agent: None,
        }
    }

    #[test]
    fn a_mixed_device_is_told_without_a_daemon() {
        let status = |mixed: Option<&str>| Status { mixed: mixed.map(str::to_owned), ..idle() };
        assert_eq!(Exit::of_status(&status(None)), Exit::Done);
        let mixed = status(Some("kernel and root disagree"));
        assert_eq!(Exit::of_status(&mixed), Exit::Mixed);
        assert!(super::super::render::status(&mixed).contains("kernel and root disagree"));
    }

    #[test]
    fn only_who_cancels_is_content_with_it() {
        let mut life = crate::update::Life::new("boot");
        let at = jiff::Timestamp::UNIX_EPOCH;
        life.outcome = Some(crate::update::Outcome { at, verdict: Verdict::Cancelled });
        let agent = Some(crate::status::AgentStatus::remembered(life));
        let status = Status { agent, ..idle() };
        for (command, exit) in [
            (Command::Cancel, Exit::Done),
            (Command::Update { retry_failed: false }, Exit::Cancelled),
            (Command::Rollback, Exit::Cancelled),
        ] {
            assert_eq!(Exit::of_command(&command, &Answer::Begun, Some(&status)), exit);
        }
    }

    #[test]
    fn what_no_channel_names_is_not_held() {
        let detail = || "no channel".to_owned();
        assert_eq!(Exit::of_verdict(&Verdict::NoChannel { detail: detail() }), Exit::NoChannel);
        assert_eq!(Exit::of_verdict(&Verdict::Withheld { detail: detail() }), Exit::Held);
    }

    #[test]
    fn every_exit_stands_at_its_own_number() {
        for (index, (exit, name, _)) in Exit::ALL.into_iter().enumerate() {
            assert_eq!((exit as usize, exit.name()), (index, name));
        }
    }
}
