use std::collections::BTreeMap;

use super::state::State;
use crate::format::Compatible;
use crate::trust::metadata::{FileMeta, Files, Roles, Signers, Snapshot, Targets, Verified};
use crate::trust::role::Layout;
use crate::trust::root_chain::RootChain;
use crate::trust::timestamp::SnapshotMeta;
use crate::trust::trusted_set::Held;
use crate::trust::{Malformed, Misbehaviour, PublicKey, Role, SignedRelease, TrustError, UnixTime};

/// One state of a repository, all of it verified: the roots, and the snapshot with every file
/// that it names.
#[derive(Clone, Debug)]
pub struct Published {
    pub(super) chain: RootChain,
    pub(super) snapshot: Held<Snapshot>,
    pub(super) targets: Held<Targets>,
    pub(super) delegated: BTreeMap<Compatible, Held<Targets>>,
}

impl Published {
    /// Reads the state whose snapshot has that version from files by their published names
    /// (`1.root.json`, `7.snapshot.json` and so on; others are ignored) and verifies it. Dates are
    /// not looked at: what has expired must still be replaced by its successor.
    pub fn load(files: &Files, snapshot_version: u64) -> Result<Self, TrustError> {
        let mut chain = RootChain::begin(get(files, &Role::Root, 1)?)?;
        chain.follow(files)?;
        if chain.root().layout() != Layout::Consistent {
            return Err(chain.root().refuse(Malformed::NotConsistent));
        }
        let signers = |role: fn(&Roles) -> &_| chain.root().signers(role);
        // This state's timestamp is not signed yet: the file's name stands for what it will say.
        let named = FileMeta { hashes: None, length: None, version: snapshot_version };
        let bytes = get(files, &Role::Snapshot, snapshot_version)?;
        let by = signers(|roles| &roles.snapshot);
        let snapshot = Held::<Snapshot>::verify_named(&Role::Snapshot, bytes, &named, by)?;
        let by = signers(|roles| &roles.targets);
        let targets = read(files, &Role::Targets, &snapshot.metadata, by)?;
        let delegated = delegated(files, &snapshot.metadata, &targets.metadata)?;
        Ok(Self { chain, snapshot, targets, delegated })
    }

    /// Version of the snapshot: publishing counts it up by one.
    pub fn snapshot_version(&self) -> u64 {
        self.snapshot.metadata.version()
    }

    /// When each role's signature ends: root first, snapshot last.
    pub fn expiries(&self) -> Vec<(Role, UnixTime)> {
        State::from(self).expiries()
    }

    /// What the timestamp is signed over.
    pub fn snapshot_meta(&self) -> SnapshotMeta {
        SnapshotMeta(FileMeta::of(self.snapshot_version(), &self.snapshot.bytes))
    }

    /// The compatibles that have a role.
    pub fn compatibles(&self) -> impl Iterator<Item = &Compatible> {
        self.delegated.keys()
    }

    /// The releases on offer to a compatible, lowest counter first; none if it has no role.
    pub fn releases(&self, compatible: &Compatible) -> Result<Vec<SignedRelease>, TrustError> {
        match self.delegated.get(compatible) {
            Some(held) => held.metadata.releases(compatible),
            None => Ok(Vec::new()),
        }
    }

    /// Whether the newest root lets this key alone sign the timestamp.
    pub fn timestamp_key(&self, key: &PublicKey) -> TimestampKey {
        let root = self.chain.root();
        let timestamp = &root.roles.timestamp;
        // An id alone verifies nothing.
        let is_key = |object| PublicKey::is_written_as(key.id(), object);
        let listed =
            timestamp.keyids.contains(key.id()) && root.keys.get(key.id()).is_some_and(is_key);
        if listed && timestamp.threshold == 1 {
            TimestampKey::Named
        } else {
            TimestampKey::NotNamed
        }
    }

    /// Every file of this state by its published name.
    pub fn files(&self) -> Files {
        State::from(self).files()
    }

    pub(super) fn unexpired(&self, now: UnixTime) -> Result<(), TrustError> {
        self.chain.unexpired(now)?;
        self.snapshot.metadata.unexpired(now)?;
        self.targets.metadata.unexpired(now)?;
        self.delegated.values().try_for_each(|held| held.metadata.unexpired(now))
    }
}

/// What a root says of a server's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampKey {
    /// It signs the timestamp.
    Named,
    /// It does not.
    NotNamed,
}

/// `<version>.<role>.json`.
pub(crate) fn published_name(role: &Role, version: u64) -> String {
    role.published_name(Layout::Consistent, version)
}

fn delegated(
    files: &Files,
    snapshot: &Verified<Snapshot>,
    targets: &Verified<Targets>,
) -> Result<BTreeMap<Compatible, Held<Targets>>, TrustError> {
    let mut delegated = BTreeMap::new();
    for delegation in targets.delegations.iter().flat_map(|all| &all.roles) {
        let compatible: Compatible = delegation.name.as_str().parse().map_err(|_| {
            let (name, allowed) = (delegation.name.to_string(), "roles named as a compatible");
            targets.refuse(Misbehaviour::WrongName { name, allowed: allowed.to_owned() })
        })?;
        let signers = targets.delegated(&compatible)?;
        let role = Role::from(&compatible);
        let held = read(files, &role, snapshot, signers)?;
        held.metadata.releases(&compatible)?;
        delegated.insert(compatible, held);
    }
    Ok(delegated)
}

fn get<'a>(files: &'a Files, role: &Role, version: u64) -> Result<&'a [u8], TrustError> {
    let file = published_name(role, version);
    match files.get(&file) {
        Some(bytes) => Ok(bytes),
        None => Err(TrustError::Missing { role: role.clone(), file }),
    }
}

fn read(
    files: &Files,
    role: &Role,
    snapshot: &Verified<Snapshot>,
    signers: Signers<'_>,
) -> Result<Held<Targets>, TrustError> {
    let file = role.meta_path();
    let Some(named) = snapshot.meta.get(&file) else {
        return Err(snapshot.refuse(Misbehaviour::NotNamed { file }));
    };
    Held::verify_named(role, get(files, role, named.version)?, named, signers)
}
