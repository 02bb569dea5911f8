use std::sync::{Mutex, PoisonError};

use payload_tools::format::Role;
use tokio::sync::Notify;

use super::DeltaBudget;
use super::wanted::Between;

/// A delta that the fleet could use, as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaRow {
    /// Between which releases.
    pub between: Between,
    /// Of which image.
    pub role: Role,
    /// How many devices would take it.
    pub devices: u64,
    /// Whether they can.
    pub state: RowState,
    /// Bytes of the full payload that it stands in for.
    pub full_bytes: u64,
}

/// What became of a delta that the fleet could use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// It is served: made here, of so many bytes.
    Made(u64),
    /// It is served: uploaded, of so many bytes.
    Uploaded(u64),
    /// It is being made.
    Making,
    /// It will be made.
    Waiting,
    /// It was made and had no room, with so many bytes.
    Unkept(u64),
    /// It saves nothing.
    NotWorth,
    /// It is tried again, after so many failures.
    Failed(u32),
}

impl RowState {
    /// Every state's word.
    pub const WORDS: [&str; 7] =
        ["made", "uploaded", "making", "waiting", "unkept", "not_worth", "failed"];

    /// The word for programs.
    pub fn word(self) -> &'static str {
        let [made, uploaded, making, waiting, unkept, not_worth, failed] = Self::WORDS;
        match self {
            Self::Made(_) => made,
            Self::Uploaded(_) => uploaded,
            Self::Making => making,
            Self::Waiting => waiting,
            Self::Unkept(_) => unkept,
            Self::NotWorth => not_worth,
            Self::Failed(_) => failed,
        }
    }

    /// The same for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Made(_) => "made here",
            Self::Uploaded(_) => "uploaded",
            Self::Making => "being made",
            Self::Waiting => "waits to be made",
            Self::Unkept(_) => "no room: --delta-disk-mib",
            Self::NotWorth => "saves nothing",
            Self::Failed(_) => "failed: see the log",
        }
    }

    /// The bytes of the file that there is, or was.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Self::Made(bytes) | Self::Uploaded(bytes) | Self::Unkept(bytes) => Some(bytes),
            Self::Making | Self::Waiting | Self::NotWorth | Self::Failed(_) => None,
        }
    }
}

/// How the making of deltas stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeltaFigures {
    /// Those that the fleet could use, the most wanted first.
    pub rows: Vec<DeltaRow>,
    /// Bytes of all that were made here and are kept.
    pub kept_bytes: u64,
    /// Whether the next one waits for room on the disk.
    pub no_room: bool,
}

/// What the rest of the server knows of it.
#[derive(Debug, Default)]
pub struct Deltas {
    /// What it may take.
    pub budget: DeltaBudget,
    figures: Mutex<DeltaFigures>,
    changed: Notify,
}

impl Deltas {
    /// Within this budget.
    pub fn within(budget: DeltaBudget) -> Self {
        Self { budget, ..Self::default() }
    }

    /// How it stands.
    pub fn figures(&self) -> DeltaFigures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What may be wanted has changed.
    pub fn reconsider(&self) {
        self.changed.notify_one();
    }

    pub(super) async fn reconsidered(&self) {
        self.changed.notified().await;
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut DeltaFigures)) {
        change(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
