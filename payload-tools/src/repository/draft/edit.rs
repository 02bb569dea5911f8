//! Who may sign: the birth of a repository, keys, thresholds and compatibles.

use std::collections::BTreeMap;

use super::{Draft, DraftError, lifetime_days};
use crate::format::Compatible;
use crate::trust::metadata::{
    Delegation, Delegations, Keys, Metadata, RoleKeys, Roles, Root, Signers, Targets, Unverified,
    pattern,
};
use crate::trust::{KeyId, PublicKey, Role, UnixTime};

/// The keys that a role begins with.
#[derive(Clone, Debug)]
pub struct RoleSeed {
    /// Any of them may sign.
    pub keys: Vec<PublicKey>,
    /// So many must.
    pub threshold: u32,
}

/// Everything that a repository begins with.
#[derive(Clone, Debug)]
pub struct Birth {
    /// Who says who may sign.
    pub root: RoleSeed,
    /// Who says which compatibles there are.
    pub targets: RoleSeed,
    /// Who says which releases are current.
    pub snapshot: RoleSeed,
    /// The server's key.
    pub timestamp: PublicKey,
    /// The compatibles, and who signs their releases.
    pub compatibles: BTreeMap<Compatible, RoleSeed>,
}

/// A change of who may sign for a role.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// One more key.
    Add(PublicKey),
    /// One key less.
    Revoke(KeyId),
    /// Another number of signatures.
    Threshold(u32),
}

impl From<PublicKey> for RoleSeed {
    fn from(key: PublicKey) -> Self {
        Self { keys: vec![key], threshold: 1 }
    }
}

impl Draft {
    /// The birth of a repository, after the server's: its timestamp key is in root 1. Makes root 1,
    /// targets 1, and an empty role for every compatible.
    pub fn begin(birth: &Birth, now: UnixTime) -> Result<Self, DraftError> {
        let mut draft = Self::on(None);
        let mut keys = Keys::new();
        let mut seed = |role, seed: &RoleSeed| role_keys(&role, &mut keys, seed);
        let roles = Roles {
            root: seed(Role::Root, &birth.root)?,
            targets: seed(Role::Targets, &birth.targets)?,
            snapshot: seed(Role::Snapshot, &birth.snapshot)?,
            timestamp: seed(Role::Timestamp, &birth.timestamp.clone().into())?,
        };
        draft.set_root(Root { consistent_snapshot: true, keys, roles }, now)?;
        draft.set_targets(Targets::default(), now)?;
        for (compatible, seed) in &birth.compatibles {
            draft.add_role(compatible, seed, now)?;
        }
        Ok(draft)
    }

    /// Changes who may sign for a role. What the keys that are left have not signed becomes a new
    /// version, to be signed by them.
    pub fn change_keys(
        &mut self,
        role: &Role,
        changes: &[KeyChange],
        now: UnixTime,
    ) -> Result<(), DraftError> {
        self.signers(role)?;
        match role {
            Role::Delegated(name) => {
                let mut targets = self.required_targets()?.clone();
                let Some(Delegations { keys, roles }) = &mut targets.delegations else {
                    return Err(DraftError::NotBegun { role: role.clone() });
                };
                for delegation in roles.iter_mut().filter(|delegation| delegation.name == *name) {
                    change(role, keys, &mut delegation.keys, changes)?;
                }
                keys.retain(|id, _| roles.iter().any(|role| role.keys.keyids.contains(id)));
                self.set_targets(targets, now)
            }
            _ => {
                let mut root = self.required_root()?.clone();
                let Root { keys, roles, .. } = &mut root;
                change(role, keys, top_level(roles, role), changes)?;
                let Roles { root: of_root, targets, snapshot, timestamp } = &*roles;
                let all = [of_root, targets, snapshot, timestamp];
                keys.retain(|id, _| all.iter().any(|role| role.keyids.contains(id)));
                self.set_root(root, now)
            }
        }
    }

    /// Gives a compatible a role of its own, which begins without releases: its devices learn that
    /// there is nothing for them rather than that the repository is broken.
    pub fn add_role(
        &mut self,
        compatible: &Compatible,
        seed: &RoleSeed,
        now: UnixTime,
    ) -> Result<(), DraftError> {
        if self.compatibles().contains(compatible) {
            return Err(DraftError::HasRole { compatible: compatible.clone() });
        }
        let role = Role::from(compatible);
        let mut targets = self.required_targets()?.clone();
        let delegations = targets.delegations.get_or_insert_default();
        let keys = role_keys(&role, &mut delegations.keys, seed)?;
        delegations.roles.push(Delegation {
            name: compatible.into(),
            keys,
            paths: Some(vec![pattern(compatible)]),
            path_hash_prefixes: None,
            terminating: true,
        });
        self.set_targets(targets, now)?;
        self.set_role(compatible, Targets::default(), now)
    }

    /// Takes a compatible's role away: its devices believe nothing any more that it signed.
    pub fn remove_role(
        &mut self,
        compatible: &Compatible,
        now: UnixTime,
    ) -> Result<(), DraftError> {
        self.delegated(compatible)?;
        let mut targets = self.required_targets()?.clone();
        if let Some(Delegations { keys, roles }) = &mut targets.delegations {
            roles.retain(|role| role.name.as_str() != compatible.as_str());
            keys.retain(|id, _| roles.iter().any(|role| role.keys.keyids.contains(id)));
        }
        self.set_targets(targets, now)
    }

    /// Has root signed again with the same keys, for another two years.
    pub fn renew_root(&mut self, now: UnixTime) -> Result<(), DraftError> {
        let root = self.required_root()?.clone();
        self.set_root(root, now)
    }

    /// Has targets and every compatible's role signed again as they are, for another year.
    pub fn renew_roles(&mut self, now: UnixTime) -> Result<(), DraftError> {
        let targets = self.required_targets()?.clone();
        self.set_targets(targets, now)?;
        for compatible in self.compatibles() {
            let role = self.delegated(&compatible)?.clone();
            self.set_role(&compatible, role, now)?;
        }
        Ok(())
    }

    fn set_root(&mut self, root: Root, now: UnixTime) -> Result<(), DraftError> {
        let expires = now.plus_days(lifetime_days::ROOT);
        self.root = Some(self.unsigned(&Role::Root, root, expires)?);
        self.sign_anew(now)
    }

    fn set_targets(&mut self, targets: Targets, now: UnixTime) -> Result<(), DraftError> {
        let expires = now.plus_days(lifetime_days::TARGETS);
        self.targets = Some(self.unsigned(&Role::Targets, targets, expires)?);
        self.sign_anew(now)
    }

    pub(super) fn set_role(
        &mut self,
        compatible: &Compatible,
        body: Targets,
        now: UnixTime,
    ) -> Result<(), DraftError> {
        let expires = now.plus_days(lifetime_days::TARGETS);
        let file = self.unsigned(&compatible.into(), body, expires)?;
        self.delegated.insert(compatible.clone(), file);
        self.snapshot = None;
        Ok(())
    }

    /// After a change of keys: what is published and has too few signatures by the keys of now
    /// becomes a new version of the same content; signatures that do not count any more go.
    fn sign_anew(&mut self, now: UnixTime) -> Result<(), DraftError> {
        self.snapshot = None;
        let present = self.compatibles();
        self.delegated.retain(|compatible, _| present.contains(compatible));
        let expires = now.plus_days(lifetime_days::TARGETS);
        if let (None, Some(state)) = (&self.targets, &self.base) {
            let signers = self.signers(&Role::Targets)?;
            if !is_signed::<Targets>(&Role::Targets, &state.targets.bytes, signers)? {
                let body = Targets::clone(&state.targets.metadata);
                self.targets = Some(self.unsigned(&Role::Targets, body, expires)?);
            }
        }
        for compatible in present {
            let held = self.base.as_ref().and_then(|state| state.delegated.get(&compatible));
            if let (None, Some(held)) = (self.delegated.get(&compatible), held) {
                let role = Role::from(&compatible);
                if !is_signed::<Targets>(&role, &held.bytes, self.signers(&role)?)? {
                    let file = self.unsigned(&role, Targets::clone(&held.metadata), expires)?;
                    self.delegated.insert(compatible, file);
                }
            }
        }
        self.keep_valid_signatures()
    }
}

/// Whether enough of the signers have signed a file.
pub(super) fn is_signed<T: Metadata>(
    role: &Role,
    bytes: &[u8],
    signers: Signers<'_>,
) -> Result<bool, DraftError> {
    Ok(Unverified::<T>::parse(role, bytes)?.count(signers).is_ok())
}

fn top_level<'a>(roles: &'a mut Roles, role: &Role) -> &'a mut RoleKeys {
    match role {
        Role::Targets => &mut roles.targets,
        Role::Snapshot => &mut roles.snapshot,
        Role::Timestamp => &mut roles.timestamp,
        Role::Root | Role::Delegated(_) => &mut roles.root,
    }
}

fn role_keys(role: &Role, keys: &mut Keys, seed: &RoleSeed) -> Result<RoleKeys, DraftError> {
    let mut made = RoleKeys { keyids: Vec::new(), threshold: seed.threshold };
    let changes: Vec<_> = seed.keys.iter().cloned().map(KeyChange::Add).collect();
    change(role, keys, &mut made, &changes)?;
    Ok(made)
}

fn change(
    role: &Role,
    listed: &mut Keys,
    keys: &mut RoleKeys,
    changes: &[KeyChange],
) -> Result<(), DraftError> {
    for change in changes {
        match change {
            KeyChange::Add(key) if keys.keyids.contains(key.id()) => {
                let key = key.id().to_string();
                return Err(DraftError::Listed { role: role.clone(), key });
            }
            KeyChange::Add(key) => {
                listed.insert(key.id().clone(), key.to_object());
                keys.keyids.push(key.id().clone());
            }
            KeyChange::Revoke(id) if keys.keyids.contains(id) => {
                keys.keyids.retain(|listed| listed != id);
            }
            KeyChange::Revoke(id) => {
                let (key, listed) = (format!("{id:.16}"), keys.keyids.clone());
                return Err(DraftError::NotListed { role: role.clone(), key, listed });
            }
            KeyChange::Threshold(threshold) => keys.threshold = *threshold,
        }
    }
    possible(role, keys)
}

/// Refuses a threshold that nobody can reach, or that anybody has reached.
pub(super) fn possible(role: &Role, keys: &RoleKeys) -> Result<(), DraftError> {
    let (threshold, count) = (keys.threshold, keys.keyids.len());
    if *role == Role::Timestamp && threshold != 1 {
        return Err(DraftError::TimestampThreshold);
    }
    if threshold == 0 || usize::try_from(threshold).is_ok_and(|needed| needed > count) {
        return Err(DraftError::Threshold { role: role.clone(), threshold, keys: count });
    }
    Ok(())
}
