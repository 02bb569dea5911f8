use std::collections::BTreeMap;

use super::{Draft, DraftError, next};
use crate::format::{Compatible, Hash, Manifest, Release, ReleaseFacts};
use crate::repository::keyring::Signer;
use crate::trust::metadata::{
    Delegation, FileMeta, Hashes, Header, Metadata, RoleKeys, Roles, Root, Snapshot, TargetFile,
    Targets, pattern, sign,
};
use crate::trust::root_chain::RootChain;
use crate::trust::trusted_set::Held;
use crate::trust::{Limits, PublicKey, Role, SignedRelease, SigningKey, UnixTime, path_of};

/// Days that each role's signature is good for.
pub mod lifetime_days {
    /// Root: two years.
    pub const ROOT: u32 = 730;
    /// Targets, and every compatible's role: one year.
    pub const TARGETS: u32 = 365;
    /// Snapshot: the longest that a stolen server can keep news from devices.
    pub const SNAPSHOT: u32 = 90;
}

/// What signing a release came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// The role has a new version.
    New,
    /// Exactly this was signed before.
    AlreadySigned,
}

impl Draft {
    /// The birth of a repository, after the server's: its timestamp key is in root 1. Makes root 1,
    /// targets 1, and an empty role for every compatible.
    pub fn begin(
        signer: &impl Signer,
        timestamp_key: &PublicKey,
        compatibles: &[Compatible],
        now: UnixTime,
    ) -> Result<Self, DraftError> {
        let root = first_root(signer, timestamp_key)?;
        let header = Header::new::<Root>(1, now.plus_days(lifetime_days::ROOT));
        let chain = RootChain::begin(&signed(&Role::Root, &header, &root, signer)?)?;
        let mut targets = Targets { delegations: None, targets: BTreeMap::new() };
        let added = add_delegations(&mut targets, signer, compatibles)?;
        let targets = sign_targets(&chain, 1, &targets, signer, now)?;
        let mut draft = Self { chain, targets, delegated: BTreeMap::new(), snapshot: None };
        draft.sign_empty_roles(signer, &added, now)?;
        Ok(draft)
    }

    /// Gives every compatible that has none a role, with the key of that name; the ones that got
    /// one are returned.
    pub fn delegate(
        &mut self,
        signer: &impl Signer,
        compatibles: &[Compatible],
        now: UnixTime,
    ) -> Result<Vec<Compatible>, DraftError> {
        let mut targets = Targets::clone(&self.targets.metadata);
        let added = add_delegations(&mut targets, signer, compatibles)?;
        if !added.is_empty() {
            self.key(signer, &Role::Targets)?;
            let version = next(self.targets.metadata.version(), Role::Targets)?;
            self.targets = sign_targets(&self.chain, version, &targets, signer, now)?;
            self.sign_empty_roles(signer, &added, now)?;
        }
        Ok(added)
    }

    /// Adds a release to its compatible's role, or changes its facts.
    pub fn sign_release(
        &mut self,
        signer: &impl Signer,
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
        let role = self.role(compatible)?;
        let hashes = Hashes::of(manifest_bytes);
        for other in role.metadata.releases(compatible)? {
            check_beside(&other, facts, Hash::of(manifest_bytes))?;
            if other.facts() == facts {
                return Ok(Signing::AlreadySigned);
            }
        }
        let json = |source| DraftError::Json { role: Role::from(compatible), source };
        let custom = Some(serde_json::to_value(facts).map_err(json)?);
        let target = TargetFile { custom, hashes, length: manifest_bytes.len() as u64 };
        let mut targets = Targets::clone(&role.metadata);
        targets.targets.insert(path_of(compatible, release), target);
        let version = self.next_role_version(compatible)?;
        self.sign_role(signer, compatible, version, &targets, now)?;
        Ok(Signing::New)
    }

    /// The key that signs for a role, if it is the one that the role above lists: another one is
    /// found before anything is signed with it or said of it.
    pub fn key<'a>(
        &self,
        signer: &'a impl Signer,
        role: &Role,
    ) -> Result<&'a SigningKey, DraftError> {
        let key = signer.key(role)?;
        let root = self.chain.root();
        let keys = match role {
            Role::Root => &root.roles.root,
            Role::Targets => &root.roles.targets,
            Role::Snapshot => &root.roles.snapshot,
            Role::Timestamp => &root.roles.timestamp,
            Role::Delegated(name) => match self.targets.metadata.signers_of(name) {
                Some(signers) => signers.role,
                None => return Ok(key),
            },
        };
        let found = key.public().id();
        match keys.keyids.first() {
            Some(listed) if !keys.keyids.contains(found) => {
                let (found, listed) = (found.to_string(), listed.to_string());
                Err(DraftError::OtherKey { role: role.clone(), found, listed })
            }
            _ => Ok(key),
        }
    }

    /// Signs the snapshot of this state under the version after the one that is `published` (0 for
    /// none) and returns that version.
    pub fn sign_snapshot(
        &mut self,
        signer: &impl Signer,
        published: u64,
        now: UnixTime,
    ) -> Result<u64, DraftError> {
        let version = next(published, Role::Snapshot)?;
        let mut meta = BTreeMap::new();
        let mut name = |role: Role, held: &Held<Targets>| {
            meta.insert(role.meta_path(), FileMeta::of(held.metadata.version(), &held.bytes));
        };
        name(Role::Targets, &self.targets);
        for (compatible, held) in &self.delegated {
            name(Role::from(compatible), held);
        }
        let header = Header::new::<Snapshot>(version, now.plus_days(lifetime_days::SNAPSHOT));
        let bytes = signed(&Role::Snapshot, &header, &Snapshot { meta }, signer)?;
        let signers = self.chain.root().signers(|roles| &roles.snapshot);
        self.snapshot = Some(Held::verify(&Role::Snapshot, &bytes, signers)?);
        Ok(version)
    }

    /// Takes releases off a compatible's list: devices that have not installed them no longer can.
    pub fn withdraw(
        &mut self,
        signer: &impl Signer,
        compatible: &Compatible,
        releases: &[Release],
        now: UnixTime,
    ) -> Result<(), DraftError> {
        let mut targets = Targets::clone(&self.role(compatible)?.metadata);
        for release in releases {
            let target = targets.targets.remove(&path_of(compatible, release));
            target.ok_or_else(|| DraftError::NotListed {
                compatible: compatible.clone(),
                release: release.clone(),
            })?;
        }
        let version = self.next_role_version(compatible)?;
        self.sign_role(signer, compatible, version, &targets, now)
    }

    /// Signs root again with the same keys, for another two years.
    pub fn renew_root(&mut self, signer: &impl Signer, now: UnixTime) -> Result<(), DraftError> {
        self.key(signer, &Role::Root)?;
        let root = Root::clone(self.chain.root());
        let version = next(self.chain.root().version(), Role::Root)?;
        let header = Header::new::<Root>(version, now.plus_days(lifetime_days::ROOT));
        Ok(self.chain.advance(&signed(&Role::Root, &header, &root, signer)?)?)
    }

    /// Signs targets and every compatible's role again as they are, for another year.
    pub fn renew_roles(&mut self, signer: &impl Signer, now: UnixTime) -> Result<(), DraftError> {
        self.key(signer, &Role::Targets)?;
        let targets = Targets::clone(&self.targets.metadata);
        let version = next(self.targets.metadata.version(), Role::Targets)?;
        self.targets = sign_targets(&self.chain, version, &targets, signer, now)?;
        let roles: Vec<_> = self
            .delegated
            .iter()
            .map(|(name, held)| (name.clone(), Targets::clone(&held.metadata)))
            .collect();
        for (compatible, role) in roles {
            let version = self.next_role_version(&compatible)?;
            self.sign_role(signer, &compatible, version, &role, now)?;
        }
        Ok(())
    }

    /// A role begins empty, so that its devices learn that there is nothing for them rather than
    /// that the repository is broken.
    fn sign_empty_roles(
        &mut self,
        signer: &impl Signer,
        compatibles: &[Compatible],
        now: UnixTime,
    ) -> Result<(), DraftError> {
        let empty = Targets { delegations: None, targets: BTreeMap::new() };
        compatibles
            .iter()
            .try_for_each(|compatible| self.sign_role(signer, compatible, 1, &empty, now))
    }

    fn sign_role(
        &mut self,
        signer: &impl Signer,
        compatible: &Compatible,
        version: u64,
        body: &Targets,
        now: UnixTime,
    ) -> Result<(), DraftError> {
        let role = Role::from(compatible);
        self.key(signer, &role)?;
        let header = Header::new::<Targets>(version, now.plus_days(lifetime_days::TARGETS));
        let bytes = signed(&role, &header, body, signer)?;
        // Read back as a device will: a wrong key, or a fault of ours, is found here.
        let signers = self.targets.metadata.delegated(compatible)?;
        let held = Held::<Targets>::verify(&role, &bytes, signers)?;
        held.metadata.releases(compatible)?;
        self.delegated.insert(compatible.clone(), held);
        Ok(())
    }
}

fn add_delegations(
    targets: &mut Targets,
    signer: &impl Signer,
    compatibles: &[Compatible],
) -> Result<Vec<Compatible>, DraftError> {
    let delegations = targets.delegations.get_or_insert_default();
    let mut added = Vec::new();
    for compatible in compatibles {
        if delegations.roles.iter().any(|role| role.name.as_str() == compatible.as_str()) {
            continue;
        }
        let key = signer.key(&Role::from(compatible))?.public();
        delegations.keys.insert(key.id().clone(), key.to_object());
        delegations.roles.push(Delegation {
            name: compatible.into(),
            keys: RoleKeys { keyids: vec![key.id().clone()], threshold: 1 },
            paths: Some(vec![pattern(compatible)]),
            path_hash_prefixes: None,
            terminating: true,
        });
        added.push(compatible.clone());
    }
    Ok(added)
}

fn first_root(signer: &impl Signer, timestamp_key: &PublicKey) -> Result<Root, DraftError> {
    let mut keys = BTreeMap::new();
    let mut add = |key: &PublicKey| {
        keys.insert(key.id().clone(), key.to_object());
        RoleKeys { keyids: vec![key.id().clone()], threshold: 1 }
    };
    let roles = Roles {
        root: add(signer.key(&Role::Root)?.public()),
        targets: add(signer.key(&Role::Targets)?.public()),
        snapshot: add(signer.key(&Role::Snapshot)?.public()),
        timestamp: add(timestamp_key),
    };
    Ok(Root { consistent_snapshot: true, keys, roles })
}

fn sign_targets(
    chain: &RootChain,
    version: u64,
    targets: &Targets,
    signer: &impl Signer,
    now: UnixTime,
) -> Result<Held<Targets>, DraftError> {
    let header = Header::new::<Targets>(version, now.plus_days(lifetime_days::TARGETS));
    let bytes = signed(&Role::Targets, &header, targets, signer)?;
    let signers = chain.root().signers(|roles| &roles.targets);
    Ok(Held::verify(&Role::Targets, &bytes, signers)?)
}

fn signed<T: Metadata>(
    role: &Role,
    header: &Header,
    body: &T,
    signer: &impl Signer,
) -> Result<Vec<u8>, DraftError> {
    let key = signer.key(role)?;
    let json = |source| DraftError::Json { role: role.clone(), source };
    let bytes = sign(header, body, &[key]).map_err(json)?;
    let (length, max) = (bytes.len() as u64, Limits::default().of(role));
    if length > max {
        return Err(DraftError::TooLarge { role: role.clone(), length, max });
    }
    Ok(bytes)
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
