//! What a publisher's folder holds of a state, and what is signed next to it.

use std::collections::BTreeMap;

use super::State;
use crate::format::Compatible;
use crate::repository::draft::DraftError;
use crate::repository::published::published_name;
use crate::repository::removals::targets_among;
use crate::trust::metadata::{FileMeta, Files, Metadata, Signers, Targets};
use crate::trust::role::stored_name;
use crate::trust::root_chain::RootChain;
use crate::trust::trusted_set::Held;
use crate::trust::{Role, SignedRelease};

/// The file of the first root of trust.
pub(in crate::repository) const FIRST_ROOT: &str = "1.root.json";

impl State {
    /// Reads the newest version of every role from files by their published names; nothing if they
    /// have no root.
    pub(in crate::repository) fn load(files: &Files) -> Result<Option<Self>, DraftError> {
        let Some(chain) = root_chain(files)? else { return Ok(None) };
        let not_begun = |role: Role| DraftError::NotBegun { role };
        let signers = chain.root().signers(|roles| &roles.targets);
        let targets =
            newest(files, &Role::Targets, signers)?.ok_or_else(|| not_begun(Role::Targets))?;
        let mut delegated = BTreeMap::new();
        for compatible in compatibles_of(&targets.metadata) {
            let signers = targets.metadata.delegated(&compatible)?;
            let role = Role::from(&compatible);
            let held = newest(files, &role, signers)?.ok_or_else(|| not_begun(role))?;
            delegated.insert(compatible, held);
        }
        let signers = chain.root().signers(|roles| &roles.snapshot);
        let snapshot = newest(files, &Role::Snapshot, signers)?;
        let past_targets = targets_among(files);
        Ok(Some(Self { chain, targets, delegated, snapshot, past_targets }))
    }

    /// The same, knowing the older targets that lie among these files.
    pub(in crate::repository) fn with_past(self, files: &Files) -> Self {
        Self { past_targets: targets_among(files), ..self }
    }

    /// What a bundle of a compatible's release carries (docs/formats.md): every root, targets and
    /// the role, without versions in the names of the two.
    pub fn bundle_files(&self, compatible: &Compatible) -> Result<Files, DraftError> {
        let role = self.role(compatible)?;
        let mut files = self.chain.files().clone();
        files.insert(stored_name(&Role::Targets), self.targets.bytes.clone());
        files.insert(stored_name(&Role::from(compatible)), role.bytes.clone());
        Ok(files)
    }

    /// Version of the newest snapshot; nothing if none was published.
    pub fn snapshot_version(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|held| held.metadata.version())
    }

    /// The releases on offer to a compatible, lowest counter first.
    pub fn releases(&self, compatible: &Compatible) -> Result<Vec<SignedRelease>, DraftError> {
        Ok(self.role(compatible)?.metadata.releases(compatible)?)
    }

    /// Version of a compatible's role; 0 where it has none.
    pub(in crate::repository) fn version_of(&self, compatible: &Compatible) -> u64 {
        self.delegated.get(compatible).map_or(0, |held| held.metadata.version())
    }

    pub(in crate::repository) fn role(
        &self,
        compatible: &Compatible,
    ) -> Result<&Held<Targets>, DraftError> {
        let no_role = || DraftError::NoRole { compatible: compatible.clone() };
        self.delegated.get(compatible).ok_or_else(no_role)
    }

    /// What the next snapshot names besides what is there: roles that were revoked stay in it, or
    /// devices would refuse it (5.5.5).
    pub(in crate::repository) fn named_before(&self) -> BTreeMap<String, FileMeta> {
        self.snapshot.as_ref().map(|held| held.metadata.meta.clone()).unwrap_or_default()
    }
}

fn newest<T: Metadata>(
    files: &Files,
    role: &Role,
    signers: Signers<'_>,
) -> Result<Option<Held<T>>, DraftError> {
    let Some((version, bytes)) = newest_file(files, role) else { return Ok(None) };
    let damaged = |error| DraftError::damaged(published_name(role, version), error);
    Held::verify(role, bytes, signers).map(Some).map_err(damaged)
}

/// The roots from the first to the last that follows; nothing if there is no first.
pub(in crate::repository) fn root_chain(files: &Files) -> Result<Option<RootChain>, DraftError> {
    let Some(first) = files.get(FIRST_ROOT) else { return Ok(None) };
    let damaged = |error| DraftError::damaged(FIRST_ROOT.to_owned(), error);
    let mut chain = RootChain::begin(first).map_err(damaged)?;
    if let Err(error) = chain.follow(files) {
        // It stands before the one that does not follow.
        return Err(DraftError::damaged(chain.next_file().unwrap_or_default(), error));
    }
    Ok(Some(chain))
}

/// The file of a role with the highest version in its name, and that.
pub(in crate::repository) fn newest_file<'a>(
    files: &'a Files,
    role: &Role,
) -> Option<(u64, &'a Vec<u8>)> {
    versions(files, role).max()
}

/// Every file of a role, and the version in its name.
pub(in crate::repository) fn versions<'a>(
    files: &'a Files,
    role: &Role,
) -> impl Iterator<Item = (u64, &'a Vec<u8>)> {
    let (role, suffix) = (role.clone(), format!(".{}", stored_name(role)));
    files.iter().filter_map(move |(name, bytes)| {
        let version = name.strip_suffix(&suffix)?.parse().ok()?;
        // "+2" and "02" are no versions.
        (published_name(&role, version) == *name).then_some((version, bytes))
    })
}

/// The compatibles that targets delegates to.
pub(in crate::repository) fn compatibles_of(targets: &Targets) -> Vec<Compatible> {
    let roles = targets.delegations.iter().flat_map(|all| &all.roles);
    roles.filter_map(|role| role.name.as_str().parse().ok()).collect()
}
