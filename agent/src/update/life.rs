use partition_layout::SlotLetter;
use payload_tools::format::Release;
use serde::{Deserialize, Serialize};

use super::{Memory, Outcome, Probe};

/// A release with its place in the only order of releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub release: Release,
    /// Its counter.
    pub counter: u64,
}

/// All that must outlive a reboot: where the life cycle stands and what was
/// learned. The journal holds exactly this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Where the life cycle stands.
    pub phase: Phase,
    /// The kernel's boot id when the phase was entered: tells a restart of the
    /// agent from a reboot.
    pub boot_id: String,
    /// What was learned.
    pub memory: Memory,
    /// How the last check, update or command ended.
    pub outcome: Option<Outcome>,
}

/// Where the life cycle stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Phase {
    /// Nothing under way.
    Idle,
    /// The server is being asked.
    Checking {
        /// Whether an update may follow.
        then: Then,
    },
    /// A person's bundle is being opened and verified.
    Opening {
        /// Whether it may be one that failed here.
        then: Then,
    },
    /// The target is being written.
    Installing {
        /// To what.
        change: Change,
    },
    /// Written and read back, still unbootable; the grant is asked again.
    Staged {
        /// To what.
        change: Change,
    },
    /// The target is what the selector starts next; waits for the reboot.
    Activated {
        /// To what.
        change: Change,
    },
    /// A person's check of what is activated: the grant is asked again.
    Asking {
        /// To what.
        change: Change,
    },
    /// The last checks before the reboot: grant and health.
    Leaving {
        /// To what.
        change: Change,
    },
    /// The reboot is ordered.
    Rebooting {
        /// To what.
        change: Change,
        /// Health of the slot that is left.
        before: Option<Probe>,
    },
    /// The booted slot is tried.
    Trial {
        /// What is tried.
        change: Change,
        /// Health of the slot that was left.
        before: Option<Probe>,
    },
    /// The trial was healthy; the confirmation is being written.
    Confirming {
        /// What is confirmed.
        change: Change,
        /// Health of the slot that was left.
        before: Option<Probe>,
    },
    /// The trial was not healthy; the slot marks itself failed and reboots.
    Failing {
        /// What failed.
        change: Change,
        /// Health of the slot that was left.
        before: Option<Probe>,
        /// Why.
        reason: String,
    },
    /// Back on the slot that was left: is it healthy, or is it the environment?
    FallenBack {
        /// What failed.
        change: Change,
        /// Health of this slot before it was left.
        before: Option<Probe>,
        /// Why.
        reason: String,
    },
    /// What booted is unknown or mixed: nothing is confirmed, staged or written.
    Blocked {
        /// What disagrees.
        why: String,
    },
}

/// What a check is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// To tell a person.
    Tell,
    /// To update when the time has come by itself.
    Update,
    /// To update because a person says so.
    UpdateByPerson,
    /// As `UpdateByPerson`, even to a release that failed here.
    Retry,
}

/// From what to what, where, and because of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The release that is to run, where its name is known.
    pub to: Option<Named>,
    /// The release that runs, where its name is known.
    pub from: Option<Named>,
    /// The slot that `to` is in or comes to.
    pub slot: SlotLetter,
    /// How `to` gets there.
    pub way: Way,
    /// Who wants it.
    pub motive: Motive,
}

impl Change {
    /// Whether the server granted it.
    pub fn granted(&self) -> bool {
        matches!(self.motive, Motive::Channel { .. })
    }
}

/// How a release gets into its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It is written.
    Install,
    /// It is there: it ran from this slot before and was confirmed.
    Installed,
}

/// Who wants a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Motive {
    /// The server granted it.
    Channel {
        /// A signed permission to lower the floor.
        downgrade: bool,
    },
    /// A person gave a signed bundle.
    Bundle {
        /// Where it is.
        path: std::path::PathBuf,
        /// A signed permission to lower the floor.
        downgrade: bool,
    },
    /// A person wants the release before this one back.
    Rollback,
    /// Found on the disk, without a memory of who wanted it.
    Found,
}

impl Life {
    /// A device that remembers nothing.
    pub fn new(boot_id: &str) -> Self {
        Self {
            phase: Phase::Idle,
            boot_id: boot_id.to_owned(),
            memory: Memory::default(),
            outcome: None,
        }
    }
}

impl Phase {
    /// The change under way, if one is.
    pub fn change(&self) -> Option<&Change> {
        match self {
            Phase::Idle
            | Phase::Checking { .. }
            | Phase::Opening { .. }
            | Phase::Blocked { .. } => None,
            Phase::Installing { change }
            | Phase::Staged { change }
            | Phase::Activated { change }
            | Phase::Asking { change }
            | Phase::Leaving { change }
            | Phase::Rebooting { change, .. }
            | Phase::Trial { change, .. }
            | Phase::Confirming { change, .. }
            | Phase::Failing { change, .. }
            | Phase::FallenBack { change, .. } => Some(change),
        }
    }

    /// Whether the change under way is one to `named`: an answer about another
    /// was overtaken.
    pub fn is_about(&self, named: Option<&Named>) -> bool {
        self.change().is_some_and(|change| change.to.as_ref() == named)
    }

    /// Whether nothing moves until time passes or somebody says something.
    pub fn rests(&self) -> bool {
        matches!(self, Phase::Idle | Phase::Activated { .. } | Phase::Blocked { .. })
    }

    /// Whether a poll that falls due waits for its end: a person is told first, and nothing would
    /// hear of the poll, so that the next came a whole interval later.
    pub fn puts_off_polls(&self) -> bool {
        matches!(self, Phase::Checking { then: Then::Tell } | Phase::Opening { .. })
    }

    /// What is under way, for people: the subject of a sentence.
    pub fn work(&self) -> String {
        let to = self.change().and_then(|change| change.to.as_ref());
        let release =
            to.map_or("a release".to_owned(), |named| format!("release {}", named.release));
        match self {
            Phase::Idle => "nothing".to_owned(),
            Phase::Checking { .. } => "a check".to_owned(),
            Phase::Opening { .. } => "the opening of a bundle".to_owned(),
            Phase::Installing { .. } | Phase::Staged { .. } => format!("the install of {release}"),
            Phase::Activated { .. }
            | Phase::Asking { .. }
            | Phase::Leaving { .. }
            | Phase::Rebooting { .. } => format!("the reboot into {release}"),
            Phase::Trial { .. } => format!("a trial of {release}"),
            Phase::Confirming { .. } => format!("the confirmation of {release}"),
            Phase::Failing { .. } => format!("the return from {release}, which failed,"),
            Phase::FallenBack { .. } => format!("a look at health after {release} failed"),
            Phase::Blocked { .. } => "a boot of which nobody can say what runs".to_owned(),
        }
    }

    /// The phase's name, as the journal spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Checking { .. } => "checking",
            Phase::Opening { .. } => "opening",
            Phase::Installing { .. } => "installing",
            Phase::Staged { .. } => "staged",
            Phase::Activated { .. } => "activated",
            Phase::Asking { .. } => "asking",
            Phase::Leaving { .. } => "leaving",
            Phase::Rebooting { .. } => "rebooting",
            Phase::Trial { .. } => "trial",
            Phase::Confirming { .. } => "confirming",
            Phase::Failing { .. } => "failing",
            Phase::FallenBack { .. } => "fallen_back",
            Phase::Blocked { .. } => "blocked",
        }
    }
}
