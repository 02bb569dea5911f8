//! The files of The Update Framework, specification 1.0.33, whose numbers the comments cite: what
//! each role may say. A value of [`Verified`] is the only way to what a file says.

mod envelope;
mod root;
mod snapshot;
mod targets;
mod timestamp;

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(feature = "authoring")]
pub(crate) use envelope::Copies;
#[cfg(feature = "authoring")]
pub(crate) use envelope::same_content;
pub(crate) use envelope::{Unverified, sign};
pub(crate) use root::{Roles, Root, Rotation};
pub(crate) use snapshot::{FileMeta, Hashes, Snapshot};
pub(crate) use targets::{Delegation, TargetFile, Targets};
#[cfg(feature = "authoring")]
pub(crate) use targets::{Delegations, pattern};
pub(crate) use timestamp::{SnapshotOnly, Timestamp};

use super::error::{Misbehaviour, TrustError};
use super::key::KeyId;
use super::role::Role;
use super::time::UnixTime;

/// Files of metadata by their names: `2.root.json`, `timestamp.json`, `demo-x86_64.json`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The version of the specification that is written and, in its first number, asked for.
pub(crate) const SPEC_VERSION: &str = "1.0.33";

/// What every role's `signed` object begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    #[serde(rename = "_type")]
    pub kind: String,
    pub spec_version: String,
    pub version: u64,
    pub expires: UnixTime,
}

impl Header {
    /// The header of what this program signs itself.
    pub(crate) fn new<T: Metadata>(version: u64, expires: UnixTime) -> Self {
        Self { kind: T::TYPE.to_owned(), spec_version: SPEC_VERSION.to_owned(), version, expires }
    }
}

/// The rest of a role's `signed` object.
pub(crate) trait Metadata: Serialize + DeserializeOwned {
    /// `_type`.
    const TYPE: &'static str;

    /// What the shape alone does not say. Fields unknown to us are no fault (4.1).
    fn check(&self) -> Result<(), Misbehaviour> {
        Ok(())
    }
}

/// The keys of a role, and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleKeys {
    pub keyids: Vec<KeyId>,
    pub threshold: u32,
}

impl RoleKeys {
    fn is_sound(&self) -> bool {
        let distinct: std::collections::BTreeSet<_> = self.keyids.iter().collect();
        self.threshold > 0 && distinct.len() == self.keyids.len()
    }
}

/// Public keys as metadata lists them; kinds of keys that are not supported stay listed.
pub(crate) type Keys = BTreeMap<KeyId, Value>;

/// Who may sign a role, by the word of the role above it.
#[derive(Clone, Copy)]
pub(crate) struct Signers<'a> {
    pub keys: &'a Keys,
    pub role: &'a RoleKeys,
}

/// Metadata that enough of its role's keys have signed. Its date is another question:
/// [`Verified::unexpired`].
#[derive(Clone, Debug)]
pub(crate) struct Verified<T> {
    role: Role,
    header: Header,
    body: T,
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.body
    }
}

impl<T> Verified<T> {
    pub(crate) fn version(&self) -> u64 {
        self.header.version
    }

    pub(crate) fn expires(&self) -> UnixTime {
        self.header.expires
    }

    /// This file's refusal.
    pub(crate) fn refuse(&self, fault: impl Into<Misbehaviour>) -> TrustError {
        TrustError::Misbehaved {
            role: self.role.clone(),
            version: Some(self.header.version),
            fault: fault.into(),
        }
    }

    /// Refuses what is past its date: from the second it names on it is expired.
    pub(crate) fn unexpired(&self, now: UnixTime) -> Result<(), TrustError> {
        let expires = self.header.expires;
        if expires <= now {
            Err(self.refuse(Misbehaviour::Expired { expires, now }))
        } else {
            Ok(())
        }
    }
}
