//! The one thing that a server signs: which snapshot is the newest.

use super::key::SigningKey;
use super::metadata::{FileMeta, Header, SnapshotOnly, Timestamp, sign as sign_metadata};
use super::time::UnixTime;

/// How long a timestamp is good for: a server that is gone, or kept from the device, is noticed
/// after two days.
pub const LIFETIME_HOURS: u32 = 48;

/// The snapshot that a timestamp vouches for: version, length and hash of a file that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta(pub(crate) FileMeta);

impl SnapshotMeta {
    /// The snapshot's version.
    pub fn version(&self) -> u64 {
        self.0.version
    }
}

/// Makes `timestamp.json`. `version` is one more than the last that was signed.
pub fn sign(
    snapshot: &SnapshotMeta,
    version: u64,
    key: &SigningKey,
    now: UnixTime,
) -> Result<Vec<u8>, serde_json::Error> {
    let header = Header::new::<Timestamp>(version, now.plus_secs(LIFETIME_HOURS * 3600));
    let meta = SnapshotOnly { snapshot: snapshot.0.clone() };
    sign_metadata(&header, &Timestamp { meta, signed_at: Some(now) }, &[key])
}
