use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use payload_tools::format::{Channel, Release};
use serde::{Deserialize, Serialize};

use super::decide::Offer;
use super::{Moment, Named, Phase, Then, Verdict};
use crate::install::Download;

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The agent came up.
    Started,
    /// The poll interval has passed.
    PollDue,
    /// A person said something.
    Said(Command),
    /// The check for this was answered, or was not.
    Checked(Then, Checked),
    /// A person's bundle was opened and verified, or was not.
    Opened(Checked),
    /// The target is written and read back, or is not.
    Installed(Result<Download, InstallFault>),
    /// The grant of a release was asked again.
    Granted(Option<Named>, Grant),
    /// The activation is written, or is not.
    Activated(Result<(), SlotFault>),
    /// The strategy lets the reboot happen now.
    RebootDue,
    /// The health checks of this moment ended.
    Probed(Moment, Probe),
    /// The confirmation is written, or is not.
    Confirmed(Result<(), SlotFault>),
    /// The failed mark is written, or is not.
    MarkedFailed(Result<(), SlotFault>),
    /// The activation is undone, or is not.
    Cancelled(Result<(), SlotFault>),
}

/// What a person wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Command {
    /// Ask the server and tell.
    Check,
    /// Ask the server and do it; lifts a hold.
    Update {
        /// Also take a release that failed here.
        retry_failed: bool,
    },
    /// Install a signed bundle.
    Install {
        /// A folder or file.
        path: PathBuf,
        /// Also take a release that failed here.
        retry_failed: bool,
    },
    /// Confirm the booted slot whatever the checks say.
    Confirm,
    /// End an install or a check that tells, or undo an activation.
    Cancel,
    /// Go back to the other slot.
    Rollback,
    /// Follow this channel; `None`: the configured one.
    Channel {
        /// Its name.
        channel: Option<Channel>,
    },
    /// Stay at a release; `None`: the one that runs.
    Pin {
        /// Its name.
        release: Option<Release>,
    },
    /// Follow the channel again.
    Unpin,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check => write!(f, "check"),
            Self::Update { .. } => write!(f, "update"),
            Self::Install { path, .. } => write!(f, "install {}", path.display()),
            Self::Confirm => write!(f, "confirm"),
            Self::Cancel => write!(f, "cancel"),
            Self::Rollback => write!(f, "rollback"),
            Self::Channel { channel: Some(channel) } => write!(f, "channel {channel}"),
            Self::Channel { channel: None } => write!(f, "channel --reset"),
            Self::Pin { release: Some(release) } => write!(f, "pin {release}"),
            Self::Pin { release: None } => write!(f, "pin"),
            Self::Unpin => write!(f, "unpin"),
        }?;
        match self {
            Self::Update { retry_failed: true } | Self::Install { retry_failed: true, .. } => {
                write!(f, " --retry-failed")
            }
            _ => Ok(()),
        }
    }
}

impl Command {
    /// Whether it does nothing but remember.
    pub fn only_remembers(&self) -> bool {
        matches!(self, Self::Channel { .. } | Self::Pin { .. } | Self::Unpin)
    }

    /// Whether what it asked for is answered, or done, in `phase`: a check does not
    /// wait for the end of an install that the agent's own one began.
    pub fn is_over(&self, phase: &Phase) -> bool {
        match (self, phase) {
            (Self::Check, Phase::Installing { .. } | Phase::Staged { .. }) => true,
            // Seen at this, it could not be written: the next poll, which tries again, may be far.
            (Self::Confirm, Phase::Confirming { .. }) => true,
            _ => phase.rests() || self.is_overtaken(phase),
        }
    }

    /// Whether other work took the place of the check that it joined, whose answer will not come.
    pub fn is_overtaken(&self, phase: &Phase) -> bool {
        let other = match phase {
            Phase::Opening { .. } => true,
            Phase::Installing { change } | Phase::Staged { change } => !change.granted(),
            _ => false,
        };
        other && *self == Self::Check
    }
}

/// What a command met at once. Work that it started is told by the outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Work has begun, or is under way already.
    Begun,
    /// It is done.
    Done,
    /// It is not.
    Refused {
        /// Why not.
        #[serde(flatten)]
        refusal: Objection,
    },
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", content = "detail", rename_all = "snake_case")]
pub enum Objection {
    /// Something is under way.
    #[error("{0} is under way: wait for it, see `updatectl status`")]
    Busy(String),
    /// The next boot already starts another slot.
    #[error("a reboot into another slot is pending: reboot, or undo it with `updatectl cancel`")]
    RebootPending,
    /// What booted is unknown.
    #[error("nothing is confirmed, staged or written: {0}")]
    Mixed(String),
    /// A rollback without a confirmed slot to go to.
    #[error("slot {0} holds no release that was confirmed: there is nothing to roll back to")]
    NothingToRollBackTo(String),
    /// A cancel without an install or an activation.
    #[error("nothing is being installed and no activation is pending: there is nothing to cancel")]
    NothingToCancel,
    /// A confirm of a confirmed slot.
    #[error("the booted slot is confirmed already")]
    NothingToConfirm,
    /// A pin without a name for what runs.
    #[error("the booted slot names no release: say which to pin")]
    Nameless,
}

/// How a check ended.
#[derive(Debug, Clone)]
pub enum Checked {
    /// A release is offered.
    Offer(Box<Offer>),
    /// Fresh metadata, and the server has nothing for this device now.
    Nothing {
        /// The server's reason, in words.
        detail: String,
    },
    /// Fresh metadata, and the server knows no channel for this device.
    NoChannel {
        /// The server's words.
        detail: String,
    },
    /// A file of this device could not be read.
    Device(String),
    /// Fresh metadata, and the server withholds what there may be; or a bundle that is not for this
    /// device.
    Withheld {
        /// The server's reason, in words.
        detail: String,
    },
    /// Not known: the freshest metadata has expired.
    Stale {
        /// Since when.
        since: Timestamp,
        /// What the refresh met.
        error: String,
    },
    /// Not known: the server is behind what this device knows, as a stale mirror is.
    Behind {
        /// Since when it should know better.
        since: Timestamp,
        /// What it gave.
        error: String,
    },
    /// Not known: the server cannot be reached.
    Network(String),
    /// Refused: something is not what was signed.
    Verification(String),
}

/// Why a stage did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstallFault {
    /// The payload could not be fetched.
    #[error("{0}")]
    Network(String),
    /// It is not what was signed.
    #[error("{0}")]
    Verification(String),
    /// The configuration allows no more to be fetched for now.
    #[error("{error}")]
    OverBudget {
        /// When it does again.
        until: Timestamp,
        /// What was met.
        error: String,
    },
    /// This device could not take it.
    #[error("{0}")]
    Device(String),
    /// A person ended it.
    #[error("a person cancelled it")]
    Cancelled,
}

/// Why a change of the slots was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotFault {
    /// The change could not be remembered, and the next boot would not understand it.
    #[error("the journal cannot be written, so that nothing new is taken: see the log")]
    Forgetful,
    /// The stage whose slot was to be activated is not known any more.
    #[error("what was staged was lost: update again, nothing is fetched twice")]
    StageLost,
    /// The health checks that were to vouch for the slot have been used up.
    #[error("the health checks have to pass again first")]
    Unproven,
    /// The slot table refused it, or could not be written.
    #[error("{0}")]
    Table(String),
}

/// The server's word on a release that it granted before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// It still stands.
    Stands,
    /// It was taken back: by the server, or by the publisher, who lists the release no longer.
    Withdrawn(String),
    /// Nobody's word is left: all that this device knows has expired.
    Expired {
        /// Since when.
        since: Timestamp,
        /// What the refresh met.
        error: String,
    },
    /// No fresh word, and the last one still counts: what a check would have come to.
    Unknown(Verdict),
}

/// What the health checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "health", rename_all = "snake_case")]
pub enum Probe {
    /// Every check passed.
    Good,
    /// Some did not.
    Bad {
        /// Which, and what they met.
        reason: String,
    },
}
