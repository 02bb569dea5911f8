//! A release as its compatible's role signs it, and the manifest that it vouches for.

use crate::format::{
    Compatible, Hash, MANIFEST_SIZE_MAX, Manifest, ManifestError, Release, ReleaseFacts,
};

/// A release that verified metadata names. Only verification makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRelease {
    length: u64,
    sha256: Hash,
    facts: ReleaseFacts,
}

impl SignedRelease {
    pub(super) fn new(length: u64, sha256: Hash, facts: ReleaseFacts) -> Self {
        Self { length, sha256, facts }
    }

    /// The target's path in the metadata: `<compatible>/<release>.json`.
    pub fn target_path(&self) -> String {
        path_of(&self.facts.compatible, &self.facts.release)
    }

    /// Where a server has the manifest, below `/v1/targets/`: the path with the hash before the
    /// file's name (consistent snapshots, 6.2).
    pub fn consistent_path(&self) -> String {
        format!("{}/{}.{}.json", self.facts.compatible, self.sha256, self.facts.release)
    }

    /// Bytes of the manifest.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// SHA-256 of the manifest.
    pub fn sha256(&self) -> Hash {
        self.sha256
    }

    /// What was signed about the release.
    pub fn facts(&self) -> &ReleaseFacts {
        &self.facts
    }

    /// Reads the manifest (5.7.2), if these are the bytes that were signed and it is of this
    /// release.
    pub fn open(&self, manifest: &[u8]) -> Result<Manifest, TargetError> {
        let refuse = |fault| TargetError { path: self.target_path(), fault };
        if manifest.len() as u64 != self.length || manifest.len() > MANIFEST_SIZE_MAX {
            let found = manifest.len() as u64;
            return Err(refuse(TargetFault::Length { signed: self.length, found }));
        }
        if Hash::of(manifest) != self.sha256 {
            return Err(refuse(TargetFault::Hash { signed: self.sha256 }));
        }
        let manifest =
            Manifest::parse(manifest).map_err(|error| refuse(TargetFault::Manifest(error)))?;
        let facts = &self.facts;
        let same = manifest.compatible == facts.compatible
            && manifest.release == facts.release
            && manifest.counter == facts.counter;
        if same { Ok(manifest) } else { Err(refuse(TargetFault::OtherRelease)) }
    }
}

/// The path of a release's target.
pub(crate) fn path_of(compatible: &Compatible, release: &Release) -> String {
    format!("{compatible}/{release}.json")
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
#[error("the manifest {path} is refused; fetch it again from another server")]
pub struct TargetError {
    /// The target's path.
    pub path: String,
    /// What is wrong with it.
    #[source]
    pub fault: TargetFault,
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum TargetFault {
    /// Not as long as signed, or longer than any manifest may be.
    #[error(
        "{signed} bytes were signed (at most {MANIFEST_SIZE_MAX} are allowed), and it has {found}"
    )]
    Length {
        /// Bytes by the signed metadata.
        signed: u64,
        /// Bytes given.
        found: u64,
    },
    /// Other bytes than were signed.
    #[error("its SHA-256 is not the signed {signed}")]
    Hash {
        /// The hash by the signed metadata.
        signed: Hash,
    },
    /// Signed, and yet no manifest.
    #[error("what was signed is no manifest")]
    Manifest(#[source] ManifestError),
    /// Signed facts and manifest name different releases: the publisher's mistake.
    #[error("it is of another release than the facts signed with it")]
    OtherRelease,
}
