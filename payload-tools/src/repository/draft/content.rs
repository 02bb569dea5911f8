//! What a draft that came from elsewhere may say: only what this program would have written, since
//! nobody is to sign what he was not shown.

use std::collections::BTreeMap;

use super::edit::possible;
use super::{Draft, DraftError};
use crate::format::Compatible;
use crate::repository::published::published_name;
use crate::repository::state::{State, compatibles_of};
use crate::trust::metadata::{
    Delegation, FileMeta, Keys, Metadata, RoleKeys, Root, Snapshot, Targets, Unverified, pattern,
};
use crate::trust::trusted_set::Held;
use crate::trust::{PublicKey, Role};

impl Draft {
    /// Refuses content that is not shown to who signs it, or that could not be published.
    pub(super) fn check_content(&self) -> Result<(), DraftError> {
        if let Some(file) = &self.root {
            let lists = |root: &Root| root.consistent_snapshot && only_our_keys(root);
            admit(&Role::Root, file, lists)?;
            let Root { roles, .. } = file.claims();
            possible(&Role::Root, &roles.root)?;
            possible(&Role::Targets, &roles.targets)?;
            possible(&Role::Snapshot, &roles.snapshot)?;
            possible(&Role::Timestamp, &roles.timestamp)?;
        }
        if let Some(file) = &self.targets {
            admit(&Role::Targets, file, only_delegates)?;
            for delegation in file.claims().delegations.iter().flat_map(|all| &all.roles) {
                possible(&Role::Delegated(delegation.name.clone()), &delegation.keys)?;
            }
        }
        for (compatible, file) in &self.delegated {
            let lists =
                |role: &Targets| role.delegations.is_none() && role.releases(compatible).is_ok();
            admit(&compatible.into(), file, lists)?;
        }
        Ok(())
    }

    /// Leaves a snapshot only if it names what is published or, role by role, what is changed here
    /// and complete, and nothing else: a release may be on its way before other changes.
    pub(super) fn keep_fitting_snapshot(&mut self) {
        let fits = |file: &Unverified<Snapshot>| {
            let named = &file.claims().meta;
            file.is_understood() && *named == self.meta_as_in(named)
        };
        if !self.snapshot.as_ref().is_some_and(fits) {
            self.snapshot = None;
        }
    }

    /// What a snapshot names that takes the changes which `named` has, and no others.
    fn meta_as_in(&self, named: &BTreeMap<String, FileMeta>) -> BTreeMap<String, FileMeta> {
        let base = self.base.as_ref();
        let mut meta = base.map(State::named_before).unwrap_or_default();
        let changed = |role: &Role, file: Option<&Unverified<Targets>>| {
            let file = file.filter(|file| self.has_signed(role, file))?;
            let next = FileMeta::of(file.version(), &file.to_bytes());
            (named.get(&role.meta_path()) == Some(&next)).then_some(next)
        };
        let held = |held: &Held<Targets>| FileMeta::of(held.metadata.version(), &held.bytes);
        let targets = changed(&Role::Targets, self.targets.as_ref());
        let compatibles = match (&targets, base) {
            (None, Some(state)) => compatibles_of(&state.targets.metadata),
            _ => self.compatibles(),
        };
        let targets = targets.or_else(|| base.map(|state| held(&state.targets)));
        meta.extend(targets.map(|targets| (Role::Targets.meta_path(), targets)));
        for compatible in compatibles {
            let role = Role::from(&compatible);
            let before = || base?.delegated.get(&compatible).map(held);
            let role_meta = changed(&role, self.delegated.get(&compatible)).or_else(before);
            meta.extend(role_meta.map(|named| (role.meta_path(), named)));
        }
        meta
    }

    fn has_signed(&self, role: &Role, file: &Unverified<Targets>) -> bool {
        let enough = self.requirements(role);
        enough.is_ok_and(|all| all.iter().all(|needed| file.count(needed.signers).is_ok()))
    }

    /// Leaves only signatures that count.
    pub(super) fn keep_valid_signatures(&mut self) -> Result<(), DraftError> {
        let mut draft = self.clone();
        draft.root.iter_mut().try_for_each(|file| self.keep_valid(&Role::Root, file))?;
        draft.targets.iter_mut().try_for_each(|file| self.keep_valid(&Role::Targets, file))?;
        for (compatible, file) in &mut draft.delegated {
            self.keep_valid(&compatible.into(), file)?;
        }
        draft.snapshot.iter_mut().try_for_each(|file| self.keep_valid(&Role::Snapshot, file))?;
        *self = draft;
        Ok(())
    }

    fn keep_valid<T: Metadata>(
        &self,
        role: &Role,
        file: &mut Unverified<T>,
    ) -> Result<(), DraftError> {
        let signers = self.requirements(role)?.into_iter().map(|needed| needed.signers);
        file.keep_valid(&signers.collect::<Vec<_>>());
        Ok(())
    }
}

fn admit<T: Metadata>(
    role: &Role,
    file: &Unverified<T>,
    is_ours: impl Fn(&T) -> bool,
) -> Result<(), DraftError> {
    if file.is_understood() && is_ours(file.claims()) {
        return Ok(());
    }
    Err(DraftError::Foreign { name: published_name(role, file.version()) })
}

fn only_our_keys(root: &Root) -> bool {
    let roles = &root.roles;
    are_keys_of(&root.keys, &[&roles.root, &roles.targets, &roles.snapshot, &roles.timestamp])
}

fn only_delegates(targets: &Targets) -> bool {
    let Some(delegations) = &targets.delegations else { return targets.targets.is_empty() };
    let roles: Vec<_> = delegations.roles.iter().map(|role| &role.keys).collect();
    targets.targets.is_empty()
        && delegations.roles.iter().all(is_of_a_compatible)
        && are_keys_of(&delegations.keys, &roles)
}

/// Whether every id that is shown stands for a key that verifies, and no key stands beside them.
fn are_keys_of(keys: &Keys, roles: &[&RoleKeys]) -> bool {
    let is_a_key = |id| keys.get(id).is_some_and(|object| PublicKey::is_written_as(id, object));
    roles.iter().flat_map(|role| &role.keyids).all(is_a_key)
        && keys.keys().all(|id| roles.iter().any(|role| role.keyids.contains(id)))
}

fn is_of_a_compatible(delegation: &Delegation) -> bool {
    let Ok(compatible) = delegation.name.as_str().parse::<Compatible>() else { return false };
    let paths = delegation.paths.as_deref();
    paths == Some(&[pattern(&compatible)][..])
        && delegation.path_hash_prefixes.is_none()
        && delegation.terminating
}
