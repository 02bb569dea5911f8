use std::path::PathBuf;

use partition_layout::{
    CommitError, DiscoverError, DoesNotFit, OpenError, PreflightError, SlotLetter, SlotState,
};

use super::EvidenceError;
use super::in_use::NotFree;
use super::transition::TransitionError;

/// A step on the slots that was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// What runs could not be found out.
    #[error("cannot find the disk that this system runs from; of an image give --disk FILE")]
    Evidence(#[from] EvidenceError),
    /// The disk could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It holds no slots.
    #[error("{} holds no slots", disk.display())]
    Discover {
        /// The disk.
        disk: PathBuf,
        /// What was met.
        source: DiscoverError,
    },
    /// Nothing on it is started.
    #[error("no slot of {} would start, so none can be taken as booted: say which with --booted", disk.display())]
    NothingNext {
        /// The disk.
        disk: PathBuf,
    },
    /// Two slots can start, and nobody says which one did.
    #[error(
        "either slot of {} may be booted (A is {}, B is {}, {next} starts next): \
         say which with --booted A or --booted B",
        disk.display(), states[0].name(), states[1].name()
    )]
    EitherBooted {
        /// The disk.
        disk: PathBuf,
        /// What the next boot starts.
        next: SlotLetter,
        /// The state of slot A and of slot B.
        states: [SlotState; 2],
    },
    /// A disk said to run nothing runs this system.
    #[error("{} is the disk that this system runs from: leave out --disk", disk.display())]
    Running {
        /// The disk.
        disk: PathBuf,
    },
    /// Nothing says that it runs nothing.
    #[error(
        "cannot tell whether this system runs from {}: \
         if it surely does not, say with --booted which slot to take as booted", disk.display()
    )]
    PerhapsRunning {
        /// The disk.
        disk: PathBuf,
        /// Why not.
        source: EvidenceError,
    },
    /// What runs is mixed.
    #[error("nothing is confirmed, staged or written: {0}")]
    Mixed(String),
    /// Two disks cannot be told apart.
    #[error("{} and {} have the same disk GUID: remove one, or give it another with `sgdisk -G`", disk.display(), twin.display())]
    Twin {
        /// The disk that this system runs from.
        disk: PathBuf,
        /// The other one.
        twin: PathBuf,
    },
    /// Somebody uses the target.
    #[error("slot {slot} is not free to be written")]
    NotFree {
        /// The target.
        slot: SlotLetter,
        /// Who.
        source: NotFree,
    },
    /// The target is what runs.
    #[error("slot {0} is what runs: it is never written")]
    TargetIsBooted(SlotLetter),
    /// The slot holds something else by now.
    #[error("slot {slot} no longer holds {expected}, confirmed")]
    NotInstalled {
        /// The slot.
        slot: SlotLetter,
        /// What was expected.
        expected: String,
    },
    /// Another slot was staged or looked at.
    #[error("slot {ready} was made ready, not slot {slot}")]
    NotReady {
        /// The slot that was to become next.
        slot: SlotLetter,
        /// The other one.
        ready: SlotLetter,
    },
    /// The step would break an invariant.
    #[error("cannot {step}")]
    Transition {
        /// The step.
        step: &'static str,
        /// What is in the way.
        source: TransitionError,
    },
    /// The table was not written, or not surely.
    #[error("cannot {step}: the partition table was not surely written")]
    Commit {
        /// The step.
        step: &'static str,
        /// What was met.
        source: CommitError,
    },
    /// The disk is not fit to be written.
    #[error("the disk is not fit for an update")]
    Preflight(#[from] PreflightError),
    /// An image is larger than its partition.
    #[error("the release does not fit the slot")]
    DoesNotFit(#[from] DoesNotFit),
}
