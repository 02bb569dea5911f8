use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Metadata;
use crate::format::Hash;
use crate::trust::error::{Malformed, Misbehaviour};

/// 4.4: which version of every targets file belongs to this state of the repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// By name without version: `targets.json`, `<compatible>.json`.
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

/// Hashes of a file: other kinds may stand beside SHA-256, which must.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hashes {
    pub sha256: Hash,
}

impl Hashes {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { sha256: Hash::of(bytes) }
    }
}

impl FileMeta {
    pub(crate) fn of(version: u64, bytes: &[u8]) -> Self {
        Self { hashes: Some(Hashes::of(bytes)), length: Some(bytes.len() as u64), version }
    }

    /// The file's length and hash, as far as they are signed (5.5.2, 5.6.2).
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), Misbehaviour> {
        let length = self.length.is_none_or(|length| length == bytes.len() as u64);
        let hashes = self.hashes.as_ref().is_none_or(|hashes| *hashes == Hashes::of(bytes));
        if length && hashes { Ok(()) } else { Err(Misbehaviour::WrongHash) }
    }
}
