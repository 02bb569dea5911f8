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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Image, Role, Salt};

    fn manifest(counter: u64) -> Vec<u8> {
        let image = |role| Image { role, size: 4096, salt: Salt::default(), root: Hash::of(b"") };
        let manifest = Manifest {
            compatible: "demo".parse().unwrap(),
            release: "2".parse().unwrap(),
            counter,
            built: "2026-11-01T00:00:00Z".parse().unwrap(),
            images: vec![image(Role::Kernel), image(Role::Root)],
        };
        manifest.to_bytes().unwrap()
    }

    fn signed(length: usize, sha256: Hash) -> SignedRelease {
        let facts = ReleaseFacts {
            release: "2".parse().unwrap(),
            counter: 2,
            compatible: "demo".parse().unwrap(),
            min_from: 0,
            channels: Vec::new(),
            floor: false,
            downgrade_from: None,
        };
        SignedRelease::new(length as u64, sha256, facts)
    }

    fn signed_over(bytes: &[u8]) -> SignedRelease {
        signed(bytes.len(), Hash::of(bytes))
    }

    #[test]
    fn a_manifest_is_opened_by_its_signed_bytes_alone() {
        let bytes = manifest(2);
        assert_eq!(signed_over(&bytes).open(&bytes).unwrap().counter, 2);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            let fault = signed_over(&bytes).open(&changed).unwrap_err().fault;
            assert!(matches!(fault, TargetFault::Hash { .. }), "byte {at}: {fault:?}");
        }
        let longer = [bytes.as_slice(), b" "].concat();
        let fault = signed_over(&bytes).open(&longer).unwrap_err().fault;
        assert!(matches!(fault, TargetFault::Length { .. }), "{fault:?}");
    }

    #[test]
    fn a_signed_length_does_not_lift_the_limit() {
        let huge = vec![b' '; MANIFEST_SIZE_MAX + 1];
        let fault = signed_over(&huge).open(&huge).unwrap_err().fault;
        assert!(matches!(fault, TargetFault::Length { .. }), "{fault:?}");
    }

    #[test]
    fn facts_and_manifest_are_of_one_release() {
        let other = manifest(3);
        let fault = signed_over(&other).open(&other).unwrap_err().fault;
        assert!(matches!(fault, TargetFault::OtherRelease), "{fault:?}");
        let fault = signed_over(b"{}").open(b"{}").unwrap_err().fault;
        assert!(matches!(fault, TargetFault::Manifest(_)), "{fault:?}");
    }
}
