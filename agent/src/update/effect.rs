use std::fmt;

use jiff::Timestamp;
use partition_layout::SlotLetter;
use payload_tools::format::Release;
use serde::{Deserialize, Serialize};

use super::life::Then;
use super::{Answer, Change, Named};
use crate::install::Download;

/// What the driver is to do. The journal is written before any of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Refresh the metadata and ask the server; ends in `Checked`.
    Check(Then),
    /// Open and verify a bundle; ends in `Opened`.
    OpenBundle(std::path::PathBuf),
    /// Write the change's release into its slot; ends in `Installed`.
    Install(Change),
    /// End the install that runs at its next segment; ends in `Installed`.
    StopInstall,
    /// Refresh and ask again whether the change still stands; ends in `Granted`.
    AskAgain(Change),
    /// Make the change's slot next; ends in `Activated`.
    Activate(Change),
    /// Send `RebootDue` when the strategy allows.
    AwaitReboot,
    /// Run the health checks; ends in `Probed`.
    Probe(Moment),
    /// Confirm the booted slot; ends in `Confirmed`.
    Confirm(ConfirmedBy),
    /// Mark a slot failed; ends in `MarkedFailed`.
    MarkFailed(SlotLetter),
    /// Undo the activation of the change; ends in `Cancelled`.
    Cancel(Change),
    /// Reboot now.
    Reboot,
    /// Run a folder of executables.
    RunHooks(HookMoment),
    /// Queue a report for the server.
    Send(Report),
    /// Answer the person who spoke.
    Answer(Answer),
}

/// Who vouches for the booted slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmedBy {
    /// Its health checks.
    Checks,
    /// A person.
    Person,
}

/// When health is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// On the slot that is about to be left; once, without patience.
    BeforeReboot,
    /// On the slot that is tried; until good or the deadline.
    Trial,
    /// On the slot fallen back to; until good or the deadline.
    AfterFallback,
}

/// When hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookMoment {
    /// After a release was staged and activated.
    PostActivate,
    /// Before the reboot into another slot.
    PreReboot,
    /// After the booted slot was confirmed.
    PostConfirm,
    /// After a fallback.
    PostFallback,
}

/// One line of the history, and one event for the server (docs/protocol.md, events).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// The release that it is about.
    pub release: Option<Release>,
    /// The slot that it is about.
    pub slot: Option<SlotLetter>,
    /// The release that ran before.
    pub from: Option<Release>,
    /// Why; of what is staged, what it cost to fetch.
    pub reason: Option<String>,
    /// Of what is staged: its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<Download>,
}

/// Kinds of report, spelled as the protocol spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The device came up on a confirmed slot; once for each boot.
    Seen,
    /// A release is taken, and its install begins.
    DownloadStarted,
    /// How far the install is; sent now and then, and in no history.
    Progress,
    /// The release is in its slot, read back, and not bootable yet.
    Staged,
    /// The next boot tries the release.
    Activated,
    /// The release runs, on trial.
    TrialStarted,
    /// The release runs, and is kept.
    Confirmed,
    /// The trial failed, by its checks or a person; the slot gives itself up.
    HealthFailed,
    /// The slot that was left for the release runs again.
    Fallback,
    /// The release that a person went back to runs, and is kept.
    RolledBack,
    /// The release was not installed, or not activated.
    InstallFailed,
    /// A person rolled back from the release: not taken until a newer one, or until asked for.
    Held,
    /// A person pinned the device at a release; the report's is the one that runs.
    Pinned,
    /// A person lets the device follow its channel again; the report's is the one that runs.
    Unpinned,
}

impl Report {
    /// A report about a change.
    pub fn of(kind: Kind, change: &Change, at: Timestamp, reason: Option<String>) -> Self {
        let name = |named: &Option<Named>| named.as_ref().map(|named| named.release.clone());
        let (release, from) = (name(&change.to), name(&change.from));
        Self { at, kind, release, slot: Some(change.slot), from, reason, download: None }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.as_str())?;
        if let Some(release) = &self.release {
            write!(f, " release {release}")?;
        }
        if let Some(slot) = self.slot {
            write!(f, " slot {slot}")?;
        }
        self.reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
    }
}

impl Kind {
    /// The kind's name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Seen => "seen",
            Kind::DownloadStarted => "download_started",
            Kind::Progress => "progress",
            Kind::Staged => "staged",
            Kind::Activated => "activated",
            Kind::TrialStarted => "trial_started",
            Kind::Confirmed => "confirmed",
            Kind::HealthFailed => "health_failed",
            Kind::Fallback => "fallback",
            Kind::RolledBack => "rolled_back",
            Kind::InstallFailed => "install_failed",
            Kind::Held => "held",
            Kind::Pinned => "pinned",
            Kind::Unpinned => "unpinned",
        }
    }
}
