use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};

use super::Metadata;
use crate::format::Hash;
use crate::trust::error::{Malformed, Misbehaviour};

/// 4.4: which version of every targets file belongs to this state of the repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// By name without version: `targets.json`, `<role>.json`.
    pub meta: BTreeMap<String, FileMeta>,
}

impl Metadata for Snapshot {
    const TYPE: &'static str = "snapshot";

    fn check(&self) -> Result<(), Misbehaviour> {
        if self.meta.values().any(|meta| meta.version == 0) {
            return Err(Malformed::VersionZero.into());
        }
        Ok(())
    }
}

/// What a role says of another role's file (4.4, `METAFILES`). Length and hashes are optional in
/// the specification; this project always writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileMeta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<Hashes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    pub version: u64,
}

/// Hashes of a file (4.4, `HASHES`). Other kinds may stand beside these, and prove nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hashes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Hash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha512: Option<LongHash>,
}

impl Hashes {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { sha256: Some(Hash::of(bytes)), sha512: None }
    }

    /// One of the hashes, as a target's file is named by it (5.7.3); none if none is known here.
    pub(crate) fn any(&self) -> Option<String> {
        let long = || Some(self.sha512.as_ref()?.0.clone());
        self.sha256.map(|hash| hash.to_string()).or_else(long)
    }

    /// Whether these are the bytes: every hash that is known here says so, and there is one.
    pub(crate) fn are_of(&self, bytes: &[u8]) -> bool {
        let short = self.sha256.is_none_or(|hash| hash == Hash::of(bytes));
        let long = self.sha512.as_ref().is_none_or(|hash| *hash == LongHash::of(bytes));
        self.any().is_some() && short && long
    }
}

/// A SHA-512, in 128 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct LongHash(String);

impl LongHash {
    fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha512::digest(bytes)))
    }
}

impl TryFrom<String> for LongHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 128 && text.bytes().all(hex) {
            Ok(Self(text))
        } else {
            Err("a SHA-512 has 128 lower-case hex digits")
        }
    }
}

impl FileMeta {
    pub(crate) fn of(version: u64, bytes: &[u8]) -> Self {
        Self { hashes: Some(Hashes::of(bytes)), length: Some(bytes.len() as u64), version }
    }

    /// The file's length and hash, as far as they are signed (5.5.2, 5.6.2).
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), Misbehaviour> {
        let length = self.length.is_none_or(|length| length == bytes.len() as u64);
        let hashes = self.hashes.as_ref().is_none_or(|hashes| hashes.are_of(bytes));
        if length && hashes { Ok(()) } else { Err(Misbehaviour::WrongHash) }
    }
}
