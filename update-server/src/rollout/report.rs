use serde::{Deserialize, Serialize};

use crate::names::{Channel, Compatible, DeviceId, Release};

/// What a device says about itself in `POST /v1/check`. Unknown keys are left
/// alone: the device may be newer than the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Who asks.
    pub device: DeviceId,
    /// What releases it can run.
    pub compatible: Compatible,
    /// The channel set on the device; `None`: the server's default.
    #[serde(default)]
    pub channel: Option<Channel>,
    /// The booted slot.
    pub slot: Slot,
    /// The booted release; `None`: the slot does not say.
    #[serde(default)]
    pub release: Option<Release>,
    /// Its counter, or the lowest that the device would take.
    pub counter: u64,
    /// Releases that failed their trial here.
    #[serde(default)]
    pub failed: Vec<Release>,
    /// Releases that were left by a rollback.
    #[serde(default)]
    pub held: Vec<Release>,
    /// The release written to the target, if any.
    #[serde(default)]
    pub staged: Option<Release>,
    /// Whether a person asked (`updatectl update`) rather than the timer.
    #[serde(default)]
    pub manual: bool,
}

/// One of the two sets of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slot {
    /// Slot A.
    A,
    /// Slot B.
    B,
}

impl Slot {
    /// The letter.
    pub fn as_str(self) -> &'static str {
        match self {
            Slot::A => "A",
            Slot::B => "B",
        }
    }
}
