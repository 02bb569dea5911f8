use serde::{Deserialize, Serialize};

use super::{FileMeta, Metadata};
use crate::trust::error::{Malformed, Misbehaviour};
use crate::trust::time::UnixTime;

/// 4.6: which snapshot is the newest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Timestamp {
    pub meta: SnapshotOnly,
    /// When the server signed it: this project's own field, which raises a device's clock floor.
    /// Other programs' timestamps do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_at: Option<UnixTime>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotOnly {
    #[serde(rename = "snapshot.json")]
    pub snapshot: FileMeta,
}

impl Metadata for Timestamp {
    const TYPE: &'static str = "timestamp";

    fn check(&self) -> Result<(), Misbehaviour> {
        if self.meta.snapshot.version == 0 {
            return Err(Malformed::VersionZero.into());
        }
        Ok(())
    }
}
