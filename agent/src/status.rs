//! The state of the device as people and programs see it.

use std::fmt;

use partition_layout::SlotLetter;
use payload_tools::fetch_plan::Mib;
use payload_tools::format::Release;
use serde::{Deserialize, Serialize};

use crate::boot_control::{BootControl, BootError, SlotRecord};
use crate::strategy::RebootLeave;
use crate::update::{Booted, Life, Outcome};

/// The slots of a disk: the shape that `updatectl --disk FILE status --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The disk or image file.
    pub source: String,
    /// Both slots, A first.
    pub slots: Vec<SlotStatus>,
    /// The slot that runs. `None`: nothing runs from this disk, or it is mixed.
    pub booted: Option<SlotLetter>,
    /// Why nobody can say which slot runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixed: Option<String>,
    /// The slot that the next boot starts.
    pub next: Option<SlotLetter>,
    /// What the agent makes of it, where it has a memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentStatus>,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// Its letter.
    pub slot: SlotLetter,
    /// Number of its kernel's partition entry, from 1.
    pub entry: u32,
    /// GUID of its kernel partition.
    pub partuuid: String,
    /// 0 to 15.
    pub priority: u8,
    /// Tries remaining, 0 to 15.
    pub tries: u8,
    /// Whether it was confirmed.
    pub successful: bool,
    /// `empty`, `trial`, `confirmed`, `retired` or `failed`.
    pub state: String,
    /// The release that its kernel names.
    pub release: Option<Release>,
}

/// What the agent makes of the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Where the life cycle stands, and what it remembers.
    #[serde(flatten)]
    pub life: Life,
    /// What keeps this boot from taking a release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub complaints: Vec<String>,
    /// What a pending reboot waits for.
    pub reboot: Option<RebootLeave>,
    /// How far a stage is.
    pub progress: Option<StageProgress>,
    /// The selector's words about this boot.
    pub last_boot: Option<String>,
    /// Reports that the server has not acknowledged.
    pub reports_waiting: usize,
}

/// How far a stage is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageProgress {
    /// `scanning`, `writing` or `reading_back`.
    pub step: String,
    /// Bytes that the step is through with.
    pub bytes_done: u64,
    /// Bytes of all images.
    pub bytes_total: u64,
    /// Payload bytes fetched.
    pub bytes_fetched: u64,
    /// Bytes per second that the step went through lately. `None`: not known yet.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    /// Until the step is through with all of them, at that speed.
    #[serde(default)]
    pub seconds_left: Option<u64>,
}

impl fmt::Display for StageProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.bytes_done.saturating_mul(100) / self.bytes_total.max(1);
        let step = self.step.replace('_', " ");
        write!(f, "{step} {share} %, {} fetched", Mib(self.bytes_fetched))?;
        if let Some(rate) = self.bytes_per_second {
            write!(f, ", {}/s", Mib(rate))?;
        }
        match self.seconds_left {
            Some(left @ ..120) => write!(f, ", {left} s left"),
            Some(left) => write!(f, ", {} min left", left.div_ceil(60)),
            None => Ok(()),
        }
    }
}

impl Status {
    /// Reads the slots.
    ///
    /// # Errors
    /// The disk cannot be read or holds no slots.
    pub fn read(boot: &dyn BootControl) -> Result<Self, BootError> {
        let (booted, mixed) = match boot.seen()?.booted {
            Booted::Slot(letter) => (Some(letter), None),
            Booted::Mixed(why) => (None, Some(why)),
        };
        Ok(Self {
            source: boot.source().display().to_string(),
            slots: boot.slots()?.iter().map(SlotStatus::of).collect(),
            booted,
            mixed,
            next: boot.predict()?,
            agent: None,
        })
    }

    /// How the last check, update or command ended.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.agent.as_ref().and_then(|agent| agent.life.outcome.as_ref())
    }
}

impl AgentStatus {
    /// What the journal alone says.
    pub fn remembered(life: Life) -> Self {
        Self {
            life,
            complaints: Vec::new(),
            reboot: None,
            progress: None,
            last_boot: None,
            reports_waiting: 0,
        }
    }
}

impl SlotStatus {
    fn of(record: &SlotRecord) -> Self {
        Self {
            slot: record.seen.letter,
            entry: record.entry,
            partuuid: record.partuuid.to_string(),
            priority: record.attributes.priority().get(),
            tries: record.attributes.tries().get(),
            successful: record.attributes.successful(),
            state: record.seen.state.name().to_owned(),
            release: record.seen.named.as_ref().map(|named| named.release.clone()),
        }
    }
}
