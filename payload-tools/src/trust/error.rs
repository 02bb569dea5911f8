//! What can go wrong with metadata, and whose fault it is.

use super::key::KeyId;
use super::role::Role;
use super::time::{TimeError, UnixTime};
use crate::format::Compatible;

/// Why metadata, or a target it names, was refused. Nothing that was trusted before has changed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The peer gave what no honest repository gives: an attack, a stale mirror or a broken disk.
    #[error("{role}{} is refused; {}", at_version(*version), fault.next_move())]
    Misbehaved {
        /// Whose metadata it is.
        role: Role,
        /// The version it claims, where it could be read.
        version: Option<u64>,
        /// What is wrong with it.
        #[source]
        fault: Misbehaviour,
    },
    /// The peer has no such file.
    #[error(
        "{role} metadata is missing: there is no {file}; try another server, or publish it there"
    )]
    Missing {
        /// Whose metadata it is.
        role: Role,
        /// The file that was asked for.
        file: String,
    },
    /// The repository is in order but knows nothing of this device's compatible.
    #[error(
        "targets {targets_version} delegates to no role {compatible:?}; check the device's compatible, \
         or add it with `payload role add {compatible}`"
    )]
    NotDelegated {
        /// What was looked for.
        compatible: Compatible,
        /// The version of the targets metadata that does not have it.
        targets_version: u64,
    },
    /// More delegated roles in one search than it goes through: [`super::client::MAX_ROLES`].
    #[error(
        "the search for {target:?} ended after {count} delegated roles; have it delegated more directly"
    )]
    EndlessRoles {
        /// The path of what was looked for.
        target: String,
        /// How many roles were searched.
        count: usize,
    },
    /// More root versions in one check than any repository has: [`super::client::MAX_ROOTS`].
    #[error(
        "root {version} is the last of {count} new ones in one check; check again to go on from it"
    )]
    EndlessRoots {
        /// The newest root, now trusted.
        version: u64,
        /// How many were fetched.
        count: u32,
    },
    /// A fault of the caller: a reply was fed, or a result taken, out of turn.
    #[error("metadata was {0} out of turn; this is a defect of the program")]
    OutOfTurn(&'static str),
}

fn at_version(version: Option<u64>) -> String {
    version.map(|version| format!(" version {version}")).unwrap_or_default()
}

/// What is wrong with a file of metadata or with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum Misbehaviour {
    /// Not the JSON that the specification describes.
    #[error("it is malformed")]
    Malformed(#[from] Malformed),
    /// Another file than the one that was asked for.
    #[error("it says that it is {found:?}")]
    WrongRole {
        /// The `_type` in the file.
        found: String,
    },
    /// Another major version of the specification.
    #[error("it follows version {0:?} of the specification, not 1.x")]
    SpecVersion(String),
    /// Too few keys of the role have signed.
    #[error(
        "{valid} of {needed} needed keys have signed it ({wrong} wrong, {unknown} unknown signatures)"
    )]
    Threshold {
        /// Distinct keys of the role whose signature is right.
        valid: u32,
        /// The role's threshold.
        needed: u32,
        /// Signatures by the role's keys that are wrong.
        wrong: u32,
        /// Signatures by keys that are not the role's.
        unknown: u32,
    },
    /// Older than what is trusted already (rollback attack, or a stale mirror).
    #[error("version {trusted} of {of} is trusted already, and it offers {offered}")]
    Rollback {
        /// The file whose version went back.
        of: String,
        /// The version known to be good.
        trusted: u64,
        /// The older one.
        offered: u64,
    },
    /// Past its date (freeze attack, or a neglected repository).
    #[error("it expired at {expires} and it is {now}")]
    Expired {
        /// The signed date.
        expires: UnixTime,
        /// The time that this check goes by.
        now: UnixTime,
    },
    /// Longer than allowed, which bounds what a peer can make a device download.
    #[error("it is longer than {max} bytes")]
    TooLarge {
        /// The most it may be, in bytes.
        max: u64,
    },
    /// Not the version that the role above names (mix and match).
    #[error("version {expected} belongs here")]
    WrongVersion {
        /// The version named by the role above, or one more than the trusted root's.
        expected: u64,
    },
    /// Not the bytes that the role above names (mix and match).
    #[error("its length or hash is not the one that was signed")]
    WrongHash,
    /// The role above does not name it.
    #[error("it does not name {file}")]
    NotNamed {
        /// What should be in it.
        file: String,
    },
    /// A target or delegation outside what its role may name.
    #[error("it names {name:?}, and may only name {allowed}")]
    WrongName {
        /// What it names.
        name: String,
        /// What it may name.
        allowed: String,
    },
    /// `signed_at` later than the publisher's own word on how long the snapshot lasts.
    #[error("it was signed at {signed_at}, after the snapshot expires at {snapshot_expires}")]
    SignedTooLate {
        /// The server's word.
        signed_at: UnixTime,
        /// The publisher's word.
        snapshot_expires: UnixTime,
    },
}

impl Misbehaviour {
    /// What a person or the agent is to do about it.
    pub fn next_move(&self) -> &'static str {
        match self {
            Self::Rollback { .. }
            | Self::WrongVersion { .. }
            | Self::WrongHash
            | Self::NotNamed { .. } => {
                "try another server: this one is stale or its files do not belong together"
            }
            Self::Expired { .. } => {
                "check the clock, then have it signed again (`payload renew`; with --root for root, with \
                 --all for targets and the roles of compatibles)"
            }
            Self::Threshold { .. } => "have it signed by the keys that root or targets list for it",
            Self::SpecVersion(_) => "update this program from its package",
            Self::TooLarge { .. } | Self::Malformed(_) | Self::WrongRole { .. } => {
                "check that the URL is an update server's and not a portal's, or that the file is the \
                 one that was meant"
            }
            Self::WrongName { .. } => "have the publisher sign it again without that",
            Self::SignedTooLate { .. } => "set the server's clock",
        }
    }
}

/// Why bytes are not metadata.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, ambiguous JSON, or another shape.
    #[error("not the JSON that the specification describes")]
    Json(#[from] serde_json::Error),
    /// Versions count from 1.
    #[error("version 0 is none: versions count from 1")]
    VersionZero,
    /// A time of another form.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// A key signed twice.
    #[error("key {0} signed it twice")]
    SignedTwice(KeyId),
    /// A role that nobody need sign, or one that lists a key twice.
    #[error("role {0} has a threshold of 0 or lists a key twice")]
    RoleKeys(String),
    /// A delegated role whose file could be taken for a top-level role's, or whose name is empty.
    #[error("no delegated role can be called {0:?}")]
    RoleName(String),
    /// A delegation by patterns and by hash prefixes at once, where the two may contradict.
    #[error("role {0} has both paths and path_hash_prefixes")]
    PathsTwice(String),
    /// The repository is not laid out with consistent snapshots, which ours always is.
    #[error("consistent_snapshot is false")]
    NotConsistent,
    /// Two releases that cannot be told which is newer.
    #[error("two releases have the counter {0}")]
    SameCounter(u64),
    /// A target without SHA-256, without facts, or with facts of another target.
    #[error("target {path:?}: {what}")]
    Target {
        /// The target's path.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
}
