//! What is on offer: a compatible's list of releases.

use super::gaps::new_gaps;
use super::{Draft, DraftError, Gap};
use crate::format::{Compatible, Hash, Manifest, Release, ReleaseFacts};
use crate::trust::metadata::{Hashes, TargetFile};
use crate::trust::{Role, SignedRelease, UnixTime, path_of};

/// What listing a release came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// The role has a new version.
    New,
    /// Exactly this is listed already.
    AlreadySigned,
}

impl Draft {
    /// Adds a release to its compatible's role, or changes its facts.
    pub fn list_release(
        &mut self,
        facts: &ReleaseFacts,
        manifest_bytes: &[u8],
        manifest: &Manifest,
        now: UnixTime,
    ) -> Result<Signing, DraftError> {
        let (compatible, release) = (&facts.compatible, &facts.release);
        let same = (&manifest.compatible, &manifest.release, manifest.counter);
        if same != (compatible, release, facts.counter) {
            return Err(DraftError::OtherFacts);
        }
        if facts.channels.is_empty() {
            return Err(DraftError::NoChannel { release: release.clone() });
        }
        for other in self.releases(compatible)? {
            check_beside(&other, facts, Hash::of(manifest_bytes))?;
            if other.facts() == facts {
                return Ok(Signing::AlreadySigned);
            }
        }
        let json = |source| DraftError::Json { role: Role::from(compatible), source };
        let custom = Some(serde_json::to_value(facts).map_err(json)?);
        let hashes = Hashes::of(manifest_bytes);
        let target = TargetFile { custom, hashes, length: manifest_bytes.len() as u64 };
        let mut targets = self.delegated(compatible)?.clone();
        targets.targets.insert(path_of(compatible, release), target);
        self.set_role(compatible, targets, now)?;
        Ok(Signing::New)
    }

    /// Floors that devices of some channels would pass by from now on, and have not until now.
    pub fn new_gaps(&self, compatible: &Compatible) -> Result<Vec<Gap>, DraftError> {
        let before = self.published_releases(compatible)?.unwrap_or_default();
        Ok(new_gaps(&before, &self.releases(compatible)?))
    }

    /// The releases that are on offer until now; of a compatible that has no role yet, nothing.
    pub(super) fn published_releases(
        &self,
        compatible: &Compatible,
    ) -> Result<Option<Vec<SignedRelease>>, DraftError> {
        let held = self.base.as_ref().filter(|state| state.delegated.contains_key(compatible));
        held.map(|state| state.releases(compatible)).transpose()
    }

    /// Takes releases off a compatible's list: devices that have not installed them no longer can.
    pub fn withdraw(
        &mut self,
        compatible: &Compatible,
        releases: &[Release],
        now: UnixTime,
    ) -> Result<(), DraftError> {
        let mut targets = self.delegated(compatible)?.clone();
        for release in releases {
            let target = targets.targets.remove(&path_of(compatible, release));
            target.ok_or_else(|| DraftError::NoRelease {
                compatible: compatible.clone(),
                release: release.clone(),
            })?;
        }
        self.set_role(compatible, targets, now)
    }
}

fn check_beside(
    other: &SignedRelease,
    facts: &ReleaseFacts,
    sha256: Hash,
) -> Result<(), DraftError> {
    let holder = other.facts();
    let release = facts.release.clone();
    if holder.release == facts.release {
        if other.sha256() != sha256 {
            return Err(DraftError::OtherContent { release, signed: other.sha256() });
        }
    } else if holder.counter == facts.counter {
        let (counter, holder) = (facts.counter, holder.release.clone());
        return Err(DraftError::CounterTaken { counter, holder, release });
    }
    Ok(())
}
