//! Keys that were taken out of a role. One of them may have been stolen: who lets it in again, or signs
//! with it, is told.

use std::collections::BTreeMap;
use std::fmt;

use super::published::published_name;
use super::state::State;
use crate::trust::metadata::{Files, Metadata, RoleKeys, Roles, Root, Targets, Unverified};
use crate::trust::{KeyId, Role};

/// When a key was taken out of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    role: String,
    listed_in: Role,
    version: u64,
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, listed_in, version } = self;
        if *role == listed_in.to_string() {
            return write!(f, "was taken out of {role} in version {version}");
        }
        write!(f, "was taken out of {role} in {listed_in} version {version}")
    }
}

/// The removals that old metadata tells of, of each key the last of each role.
#[derive(Clone, Debug, Default)]
pub(super) struct Removals(BTreeMap<KeyId, BTreeMap<String, Removal>>);

impl Removals {
    /// By every root, and by the targets that are still at hand. Of those, one that no root's keys have
    /// signed tells nothing: a folder may have been carried by a stranger.
    pub(super) fn of(state: &State) -> Self {
        let mut removals = Self::default();
        let roots = in_order::<Root>(&Role::Root, state.chain.files());
        removals
            .note(&Role::Root, roots.iter().map(|root| (root.version(), top_level(root.claims()))));
        let mut targets = in_order::<Targets>(&Role::Targets, &targets_among(&state.files()));
        targets.extend(in_order(&Role::Targets, &state.past_targets));
        targets.retain(|file| {
            let mut signers =
                roots.iter().map(|root| root.claims().signers(|roles| &roles.targets));
            signers.any(|signers| file.count(signers).is_ok())
        });
        targets.sort_by_key(Unverified::version);
        let lists = targets.iter().map(|file| (file.version(), delegates(file.claims())));
        removals.note(&Role::Targets, lists);
        removals
    }

    /// Takes the lists of a file, version by version.
    fn note<'a>(
        &mut self,
        lister: &Role,
        versions: impl Iterator<Item = (u64, Vec<(String, &'a RoleKeys)>)>,
    ) {
        let mut before: Vec<(String, &RoleKeys)> = Vec::new();
        for (version, after) in versions {
            let stays = |role: &String, id: &KeyId| {
                after.iter().any(|(name, keys)| name == role && keys.keyids.contains(id))
            };
            for (role, keys) in before {
                for id in keys.keyids.iter().filter(|id| !stays(&role, id)) {
                    let removal =
                        Removal { role: role.clone(), listed_in: lister.clone(), version };
                    self.0.entry(id.clone()).or_default().insert(role.clone(), removal);
                }
            }
            before = after;
        }
    }

    /// Where a key was taken out: of the role `of` if it was, else of any other.
    pub(super) fn find(&self, id: &KeyId, of: Option<&str>) -> Option<&Removal> {
        let all = self.0.get(id)?;
        of.and_then(|role| all.get(role)).or_else(|| all.values().next())
    }
}

/// The files of targets among others.
pub(super) fn targets_among(files: &Files) -> Files {
    let is_targets = |name: &str| {
        let version = name.split_once('.').and_then(|(version, _)| version.parse().ok());
        version.is_some_and(|version| published_name(&Role::Targets, version) == name)
    };
    let among = files.iter().filter(|(name, _)| is_targets(name));
    among.map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
}

/// What can be read of a role's files, oldest first.
fn in_order<T: Metadata>(role: &Role, files: &Files) -> Vec<Unverified<T>> {
    let read = files.values().filter_map(|bytes| Unverified::parse(role, bytes).ok());
    let mut read: Vec<_> = read.collect();
    read.sort_by_key(Unverified::version);
    read
}

fn top_level(root: &Root) -> Vec<(String, &RoleKeys)> {
    let Roles { root, targets, snapshot, timestamp } = &root.roles;
    let all = [
        (Role::Root, root),
        (Role::Targets, targets),
        (Role::Snapshot, snapshot),
        (Role::Timestamp, timestamp),
    ];
    all.map(|(role, keys)| (role.to_string(), keys)).into()
}

fn delegates(targets: &Targets) -> Vec<(String, &RoleKeys)> {
    let roles = targets.delegations.iter().flat_map(|all| &all.roles);
    roles.map(|role| (role.name.to_string(), &role.keys)).collect()
}
