use payload_tools::format::{Channel, Compatible, Release};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::identity::DeviceId;

/// What the device says about itself when it asks (docs/protocol.md, check).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRequest {
    /// The channel that it follows; `None`: the server's default.
    pub channel: Option<Channel>,
    /// The booted slot.
    pub slot: partition_layout::SlotLetter,
    /// The booted release.
    pub release: Option<Release>,
    /// Its counter.
    pub counter: u64,
    /// Releases that failed here.
    pub failed: Vec<Release>,
    /// Releases that a rollback left.
    pub held: Vec<Release>,
    /// The release that is staged or activated.
    pub staged: Option<Release>,
    /// Whether a person asks.
    pub manual: bool,
}

/// The server's answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CheckAnswer {
    /// What to do.
    pub action: Action,
    /// The release it is about.
    pub release: Option<Release>,
    /// Why.
    pub reason: ServerReason,
    /// Why, for people.
    #[serde(default)]
    pub detail: String,
    /// The channel that the answer is from.
    pub channel: Option<Channel>,
    /// When to ask again, in seconds.
    pub poll_seconds: Option<u32>,
}

/// What the server says to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Take the release.
    Update,
    /// Nothing.
    None,
}

/// Why the server says so (docs/protocol.md, check), as far as the device tells
/// one reason from another: for people there is `detail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerReason {
    /// What is wanted runs.
    UpToDate,
    /// No channel says what is wanted.
    NoChannel,
    /// Any other, those of later versions of the protocol included.
    #[serde(other)]
    Other,
}

pub(super) fn body(device: &DeviceId, compatible: &Compatible, request: &CheckRequest) -> Value {
    json!({
        "device": device.as_str(),
        "compatible": compatible,
        "channel": request.channel,
        "slot": request.slot,
        "release": request.release,
        "counter": request.counter,
        "failed": request.failed,
        "held": request.held,
        "staged": request.staged,
        "manual": request.manual,
    })
}
