//! What a draft that came from elsewhere may say: only what this program would have written, since
//! nobody is to sign what he was not shown.

use super::edit::possible;
use super::{Draft, DraftError};
use crate::format::Compatible;
use crate::repository::published::published_name;
use crate::trust::Role;
use crate::trust::metadata::{Delegation, Metadata, Root, Targets, Unverified, pattern};

impl Draft {
    /// Refuses content that is not shown to who signs it, or that could not be published.
    pub(super) fn check_content(&self) -> Result<(), DraftError> {
        if let Some(file) = &self.root {
            admit(&Role::Root, file, |root| root.consistent_snapshot)?;
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

fn only_delegates(targets: &Targets) -> bool {
    let mut roles = targets.delegations.iter().flat_map(|all| &all.roles);
    targets.targets.is_empty() && roles.all(is_of_a_compatible)
}

fn is_of_a_compatible(delegation: &Delegation) -> bool {
    let Ok(compatible) = delegation.name.as_str().parse::<Compatible>() else { return false };
    let paths = delegation.paths.as_deref();
    paths == Some(&[pattern(&compatible)][..])
        && delegation.path_hash_prefixes.is_none()
        && delegation.terminating
}
