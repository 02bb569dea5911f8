mod error;
mod sign;

use std::collections::BTreeMap;

use super::published::{Published, published_name};
use crate::format::Compatible;
use crate::trust::metadata::{Files, Metadata, Signers, Snapshot, Targets};
use crate::trust::role::stored_name;
use crate::trust::root_chain::RootChain;
use crate::trust::trusted_set::Held;
use crate::trust::{Role, SignedRelease, UnixTime};

pub use error::DraftError;
pub use sign::{Signing, lifetime_days};

/// A publisher's state of the repository: the newest file of every role, and what is signed on top.
///
/// Only what signing needs is here; where keys come from is a [`Signer`](super::Signer)'s business.
#[derive(Clone, Debug)]
pub struct Draft {
    chain: RootChain,
    targets: Held<Targets>,
    delegated: BTreeMap<Compatible, Held<Targets>>,
    snapshot: Option<Held<Snapshot>>,
}

impl Draft {
    /// Reads the newest version of every role from files by their published names.
    pub fn load(files: &Files) -> Result<Self, DraftError> {
        let not_begun = |role: Role| DraftError::NotBegun { role };
        let first = files.get("1.root.json").ok_or_else(|| not_begun(Role::Root))?;
        let mut chain = RootChain::begin(first)?;
        chain.follow(files)?;
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
        Ok(Self { chain, targets, delegated, snapshot })
    }

    /// Takes over what the server has published. Kept of what was signed here are compatibles that
    /// the server does not know yet, unless somebody else changed targets in between, and they have
    /// to be added again on top of that. A compatible's role is always the server's: a release that
    /// was signed and is not uploaded would keep every later publication from being taken.
    pub fn adopt(&mut self, published: &Published) {
        if published.chain.root().version() >= self.chain.root().version() {
            self.chain = published.chain.clone();
        }
        if !goes_on_from(&self.targets, &published.targets) {
            self.targets = published.targets.clone();
        }
        self.delegated.extend(published.delegated.clone());
        let targets = &self.targets.metadata;
        self.delegated.retain(|compatible, _| targets.delegated(compatible).is_ok());
        self.snapshot = Some(published.snapshot.clone());
    }

    /// Every file of this state by its published name.
    pub fn files(&self) -> Files {
        let mut files = self.chain.files().clone();
        let mut keep = |role: Role, version: u64, bytes: &[u8]| {
            files.insert(published_name(&role, version), bytes.to_vec());
        };
        keep(Role::Targets, self.targets.metadata.version(), &self.targets.bytes);
        for (compatible, held) in &self.delegated {
            keep(Role::from(compatible), held.metadata.version(), &held.bytes);
        }
        if let Some(held) = &self.snapshot {
            keep(Role::Snapshot, held.metadata.version(), &held.bytes);
        }
        files
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

    /// Version of the newest snapshot; nothing if none was published from here.
    pub fn snapshot_version(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|held| held.metadata.version())
    }

    /// The releases on offer to a compatible, lowest counter first.
    pub fn releases(&self, compatible: &Compatible) -> Result<Vec<SignedRelease>, DraftError> {
        Ok(self.role(compatible)?.metadata.releases(compatible)?)
    }

    /// The version that a compatible's role gets when it is signed next.
    pub fn next_role_version(&self, compatible: &Compatible) -> Result<u64, DraftError> {
        let role = self.role(compatible)?;
        next(role.metadata.version(), Role::from(compatible))
    }

    fn role(&self, compatible: &Compatible) -> Result<&Held<Targets>, DraftError> {
        let no_role = || DraftError::NoRole { compatible: compatible.clone() };
        self.delegated.get(compatible).ok_or_else(no_role)
    }

    /// When each role's signature ends: root first, snapshot (if it was signed) last.
    pub fn expiries(&self) -> Vec<(Role, UnixTime)> {
        let mut all = vec![
            (Role::Root, self.chain.root().expires()),
            (Role::Targets, self.targets.metadata.expires()),
        ];
        for (compatible, held) in &self.delegated {
            all.push((Role::from(compatible), held.metadata.expires()));
        }
        all.extend(self.snapshot.iter().map(|held| (Role::Snapshot, held.metadata.expires())));
        all
    }
}

/// Whether `ours` is a later version of `theirs` with every compatible that names.
fn goes_on_from(ours: &Held<Targets>, theirs: &Held<Targets>) -> bool {
    let (ours, theirs) = (&ours.metadata, &theirs.metadata);
    let compatibles = compatibles_of(theirs).iter().all(|name| ours.delegated(name).is_ok());
    ours.version() > theirs.version() && compatibles
}

fn newest<T: Metadata>(
    files: &Files,
    role: &Role,
    signers: Signers<'_>,
) -> Result<Option<Held<T>>, DraftError> {
    let suffix = format!(".{}", stored_name(role));
    let version = |name: &String| name.strip_suffix(&suffix)?.parse::<u64>().ok();
    let newest = files.iter().filter_map(|(name, bytes)| Some((version(name)?, bytes))).max();
    match newest {
        Some((_, bytes)) => Ok(Some(Held::verify(role, bytes, signers)?)),
        None => Ok(None),
    }
}

fn compatibles_of(targets: &Targets) -> Vec<Compatible> {
    let roles = targets.delegations.iter().flat_map(|all| &all.roles);
    roles.filter_map(|role| role.name.as_str().parse().ok()).collect()
}

fn next(version: u64, role: Role) -> Result<u64, DraftError> {
    version.checked_add(1).ok_or(DraftError::Exhausted { role })
}
