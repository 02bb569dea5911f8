//! What goes into the store and what comes out.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use payload_tools::format::ReleaseFacts;
use serde::{Deserialize, Serialize};

use crate::names::{Channel, Compatible, DeviceId, EventId, EventWord, Release, TokenName};
use crate::rollout::{Decision, DeviceReport, Slot, Verdict};

/// A poll and its answer: what is kept of it, since many wait in memory to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRecord {
    /// Who asked.
    pub device: DeviceId,
    /// What releases it can run.
    pub compatible: Compatible,
    /// When it was answered.
    pub at: Timestamp,
    /// What it said and was told.
    pub check: LastCheck,
}

impl CheckRecord {
    /// What is to be kept of an answered poll.
    pub fn new(at: Timestamp, report: DeviceReport, decision: &Decision) -> Self {
        let check = LastCheck {
            channel: decision.channel().cloned(),
            slot: report.slot,
            release: report.release,
            counter: report.counter,
            verdict: decision.verdict(),
            detail: decision.detail().to_owned(),
        };
        Self { device: report.device, compatible: report.compatible, at, check }
    }
}

/// What a device reports in `POST /v1/events`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventReport {
    /// Who reports.
    pub device: DeviceId,
    /// What it runs.
    pub compatible: Compatible,
    /// What happened, in any order.
    pub events: Vec<DeviceEvent>,
}

/// Something that happened on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceEvent {
    /// Makes a repeat recognisable.
    pub id: EventId,
    /// When, by the device's clock.
    pub at: Timestamp,
    /// What.
    pub kind: EventWord,
    /// The release it is about.
    #[serde(default)]
    pub release: Option<Release>,
    /// The slot it is about.
    #[serde(default)]
    pub slot: Option<Slot>,
    /// The release the device came from.
    #[serde(default)]
    pub from: Option<Release>,
    /// Why, for failures. At most 4 KiB are kept.
    #[serde(default)]
    pub reason: Option<String>,
}

macro_rules! kinds {
    ($($variant:ident = $text:literal, $doc:literal;)+) => {
        /// What can happen on a device, as far as this server knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventKind { $(#[doc = $doc] $variant,)+ }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$variant,)+];

            /// What a device's word means; `None`: the device is newer than this server.
            pub fn of(word: &EventWord) -> Option<Self> {
                Self::ALL.iter().find(|kind| kind.as_str() == word.as_str()).copied()
            }

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(EventKind::$variant => $text,)+ }
            }
        }
    };
}

kinds! {
    Seen = "seen", "The agent started.";
    Check = "check", "It asked, and something came of it.";
    DownloadStarted = "download_started", "The first byte was asked for.";
    Progress = "progress", "How far its install is.";
    Staged = "staged", "Written to the target and read back.";
    Activated = "activated", "The next boot tries it.";
    TrialStarted = "trial_started", "It runs, unconfirmed.";
    Confirmed = "confirmed", "It passed its health checks.";
    HealthFailed = "health_failed", "It failed its health checks.";
    Fallback = "fallback", "The selector went back by itself.";
    RolledBack = "rolled_back", "A person went back.";
    InstallFailed = "install_failed", "It could not be staged or activated.";
    Held = "held", "It will not be installed until a newer one or a person says so.";
    Pinned = "pinned", "A person pinned the device locally.";
    Unpinned = "unpinned", "A person lifted the local pin.";
}

/// How much of a report was new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsRecorded {
    /// Kinds of the events that were not known yet.
    pub new: Vec<EventWord>,
    /// Devices that were let go to make room.
    pub let_go: u64,
}

/// A wish about one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelChange {
    /// Whether it must exist before; without this, a release creates it or promotes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// Create it at, or promote it to, this release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// Pin it to a release (`Some(Some)`) or lift the pin (`Some(None)`).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub pin: Option<Option<Release>>,
    /// Stop or restart it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Make it the default of its compatible; `false` is refused, another channel takes over instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
}

/// What an operator takes for granted of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// There is none yet.
    Absent,
    /// It is there.
    Present,
}

/// Tells a `null` from an absent key.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// What came of a [`ChannelChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelChanged {
    /// It holds.
    Done,
    /// There is none, and it was not to be created or no release was named for it.
    Missing,
    /// It was to be created, and is there: at this release.
    Exists(Release),
    /// The signed list has no such release.
    UnknownRelease(Release),
    /// The release is not signed for this channel.
    NotSignedFor(Release),
}

/// What came of pinning a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned {
    /// It holds.
    Done,
    /// No such device was ever seen.
    UnknownDevice,
    /// The signed list of the device's compatible has no such release.
    UnknownRelease,
}

/// What came of forgetting a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// Nothing is left of it.
    Done,
    /// No such device was ever seen.
    UnknownDevice,
}

/// An admin token, of which only the hash is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// What it is called.
    pub name: TokenName,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What came of adding a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenAdded {
    /// It may be used.
    Done,
    /// Another has this name.
    NameTaken,
}

/// What came of revoking a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenRevoked {
    /// It may not be used any more.
    Done,
    /// None has this name.
    NoSuchName,
}

/// Versions that the server trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Snapshot that the timestamp names.
    pub snapshot_version: u64,
    /// Newest timestamp.
    pub timestamp_version: u64,
    /// Its expiry.
    pub timestamp_expires: Timestamp,
    /// The signed timestamp.
    pub timestamp: Vec<u8>,
}

/// A verified change of the repository.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where the repository stood when this was verified.
    pub replaces: Option<Repository>,
    /// Where it stands afterwards, with its new timestamp.
    pub becomes: Repository,
    /// New signed files. Empty when only the timestamp was signed again.
    pub files: Vec<(String, Vec<u8>)>,
    /// The signed list, `None` when it did not change.
    pub releases: Option<Vec<ReleaseFacts>>,
    /// When.
    pub at: Timestamp,
}

/// What came of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It is what devices see from now on.
    Published,
    /// Somebody else published first.
    Moved,
}

/// A release as the console and the admin API show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRecord {
    /// What was signed about it.
    pub facts: ReleaseFacts,
    /// When it was first published.
    pub published_at: Timestamp,
    /// When the signed list stopped naming it.
    pub withdrawn_at: Option<Timestamp>,
}

/// A device and its last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Who.
    pub device: DeviceId,
    /// What releases it can run.
    pub compatible: Compatible,
    /// When it was heard of first.
    pub first_seen: Timestamp,
    /// When it was heard of last.
    pub last_seen: Timestamp,
    /// Held at this release by an operator.
    pub pin: Option<Release>,
    /// Its last check.
    pub check: Option<LastCheck>,
    /// The event that arrived last.
    pub event: Option<LastEvent>,
}

/// Some devices, those seen last first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePage {
    /// The devices.
    pub devices: Vec<DeviceRecord>,
    /// How many there are.
    pub total: u64,
    /// Where to go on; `None`: these are the last.
    pub next: Option<DeviceCursor>,
}

/// A place in the list of devices: the last that was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceCursor {
    /// When it was heard of last, in Unix seconds.
    pub last_seen: i64,
    /// Who.
    pub device: DeviceId,
}

impl fmt::Display for DeviceCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.last_seen, self.device)
    }
}

impl From<DeviceCursor> for String {
    fn from(cursor: DeviceCursor) -> Self {
        cursor.to_string()
    }
}

/// Text that is no place in the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no place in the list of devices: take `before` of the answer that you go on from")]
pub struct CursorError;

impl FromStr for DeviceCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (last_seen, device) = text.rsplit_once('-').ok_or(CursorError)?;
        let last_seen = last_seen.parse().map_err(|_| CursorError)?;
        Ok(Self { last_seen, device: device.parse().map_err(|_| CursorError)? })
    }
}

impl TryFrom<String> for DeviceCursor {
    type Error = CursorError;

    fn try_from(text: String) -> Result<Self, CursorError> {
        text.parse()
    }
}

/// The last check of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastCheck {
    /// The channel it was taken to be in.
    pub channel: Option<Channel>,
    /// The booted slot.
    pub slot: Slot,
    /// The booted release, if it said.
    pub release: Option<Release>,
    /// Its counter.
    pub counter: u64,
    /// What it was told.
    pub verdict: Verdict,
    /// The same for people.
    pub detail: String,
}

/// The event of a device that arrived last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventWord,
    /// The release it is about.
    pub release: Option<Release>,
    /// Why, for failures.
    pub reason: Option<String>,
}

/// A device with its history.
#[derive(Debug, Clone)]
pub struct DeviceDetail {
    /// Its last word.
    pub device: DeviceRecord,
    /// Newest first.
    pub events: Vec<DeviceEvent>,
}

/// How many devices run a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What they are; `None`: nothing was ever published for it.
    pub compatible: Option<Compatible>,
    /// What they run; `None`: they never checked, or it was never published.
    pub release: Option<Release>,
    /// How many.
    pub devices: u64,
}
