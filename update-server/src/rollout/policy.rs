//! The operators' wishes and the signed list, as one value held in memory.

use std::collections::{BTreeMap, HashMap};

use payload_tools::format::ReleaseFacts;
use serde::{Deserialize, Serialize};

use crate::names::{Channel, Compatible, DeviceId, Release};

/// Everything a decision needs besides the device's own report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Per compatible: its channels and its signed releases.
    pub compatibles: BTreeMap<Compatible, CompatiblePolicy>,
    /// Devices held at one release by an operator.
    pub pins: HashMap<DeviceId, Release>,
}

/// Channels and signed releases of one compatible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompatiblePolicy {
    /// For devices that name no channel.
    pub default_channel: Option<Channel>,
    /// All channels.
    pub channels: BTreeMap<Channel, ChannelPolicy>,
    /// Releases that the current signed list names.
    pub offers: BTreeMap<Release, ReleaseFacts>,
}

/// Where a channel stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPolicy {
    /// The release it was promoted to.
    pub release: Release,
    /// A release that overrides it, older ones included.
    pub pin: Option<Release>,
    /// Whether it hands out updates.
    pub flow: Flow,
}

impl ChannelPolicy {
    /// The release that its devices are to have.
    pub fn wanted(&self) -> &Release {
        self.pin.as_ref().unwrap_or(&self.release)
    }
}

impl CompatiblePolicy {
    /// What the signed list makes of what a channel wants.
    pub fn offer(&self, name: &Channel, channel: &ChannelPolicy) -> Offer {
        self.signed(channel.wanted(), Some(name)).err().unwrap_or(Offer::Offered)
    }

    /// What is signed of a release that is wanted, by a channel or for one device; or why nobody
    /// gets it.
    pub fn signed(
        &self,
        release: &Release,
        channel: Option<&Channel>,
    ) -> Result<&ReleaseFacts, Offer> {
        let facts = self.offers.get(release).ok_or(Offer::Withdrawn)?;
        match channel {
            Some(channel) if !facts.channels.contains(channel) => Err(Offer::NotSigned),
            _ => Ok(facts),
        }
    }
}

/// Whether devices get what their channel wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offer {
    /// They do.
    Offered,
    /// The signed list does not name it any more: nobody gets it.
    Withdrawn,
    /// It is not signed for the channel any more: nobody in it gets it.
    NotSigned,
}

/// Whether a channel hands out updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Open,
    /// An operator stopped it.
    Paused,
}
