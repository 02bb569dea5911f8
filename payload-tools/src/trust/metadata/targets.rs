use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Hashes, Keys, Metadata, RoleKeys, Signers, Verified};
use crate::format::{Compatible, ReleaseFacts};
use crate::trust::error::{Malformed, Misbehaviour, TrustError};
use crate::trust::pattern;
use crate::trust::release::{SignedRelease, path_of};
use crate::trust::role::RoleName;

/// 4.5: targets and who else may name some. In this project the top-level file only delegates, and
/// a compatible's file only names releases.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Targets {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegations: Option<Delegations>,
    pub targets: BTreeMap<String, TargetFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TargetFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Value>,
    pub hashes: Hashes,
    pub length: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Delegations {
    pub keys: Keys,
    /// The first is trusted most.
    pub roles: Vec<Delegation>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Delegation {
    pub name: RoleName,
    #[serde(flatten)]
    pub keys: RoleKeys,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hash_prefixes: Option<Vec<String>>,
    pub terminating: bool,
}

impl Delegation {
    /// Whether the role is trusted for a target: by patterns or by what the SHA-256 of the path
    /// begins with, which sorts targets into bins; for nothing if there is neither.
    pub(crate) fn covers(&self, path: &str) -> bool {
        let by_pattern = self.paths.iter().flatten().any(|pattern| pattern::covers(pattern, path));
        let digest = hex::encode(Sha256::digest(path));
        let by_hash = self.path_hash_prefixes.iter().flatten();
        by_pattern || by_hash.into_iter().any(|prefix| digest.starts_with(prefix))
    }
}

impl Metadata for Targets {
    const TYPE: &'static str = "targets";

    fn check(&self) -> Result<(), Misbehaviour> {
        let roles = self.delegations.iter().flat_map(|delegations| &delegations.roles);
        let mut names = BTreeSet::new();
        for role in roles {
            if !role.keys.is_sound() || !names.insert(&role.name) {
                return Err(Malformed::RoleKeys(role.name.to_string()).into());
            }
            if role.paths.is_some() && role.path_hash_prefixes.is_some() {
                return Err(Malformed::PathsTwice(role.name.to_string()).into());
            }
        }
        Ok(())
    }
}

/// The only pattern that a compatible's role is trusted for.
pub(crate) fn pattern(compatible: &Compatible) -> String {
    format!("{compatible}/*")
}

impl Targets {
    /// Who may sign a role, by the word of this one.
    pub(crate) fn signers_of(&self, name: &RoleName) -> Option<Signers<'_>> {
        let delegations = self.delegations.as_ref()?;
        let role = delegations.roles.iter().find(|role| role.name == *name)?;
        Some(Signers { keys: &delegations.keys, role: &role.keys })
    }

    /// The releases that a compatible's file names, by counter.
    pub(crate) fn releases(
        &self,
        compatible: &Compatible,
    ) -> Result<Vec<SignedRelease>, Misbehaviour> {
        let named = self.targets.iter();
        let mut releases = named
            .map(|(path, target)| release(compatible, path, target))
            .collect::<Result<Vec<_>, _>>()?;
        releases.sort_by_key(|release| release.facts().counter);
        let twice =
            releases.windows(2).find(|pair| pair[0].facts().counter == pair[1].facts().counter);
        match twice {
            Some(pair) => Err(Malformed::SameCounter(pair[0].facts().counter).into()),
            None => Ok(releases),
        }
    }
}

impl Verified<Targets> {
    /// Who may sign for a compatible. Of the specification's search through delegations (5.6.7)
    /// one step is left: the one terminating role that is named as the compatible.
    pub(crate) fn delegated(&self, compatible: &Compatible) -> Result<Signers<'_>, TrustError> {
        let found = self.delegations.as_ref().and_then(|delegations| {
            let named = |role: &&Delegation| role.name.as_str() == compatible.as_str();
            Some((delegations, delegations.roles.iter().find(named)?))
        });
        let Some((delegations, role)) = found else {
            return Err(TrustError::NotDelegated {
                compatible: compatible.clone(),
                targets_version: self.version(),
            });
        };
        let allowed = pattern(compatible);
        let paths = role.paths.as_deref().unwrap_or_default();
        if paths != [allowed.as_str()] || !role.terminating {
            let name = format!("{} for {paths:?}", role.name);
            let allowed = format!("a terminating role for {allowed:?}");
            return Err(self.refuse(Misbehaviour::WrongName { name, allowed }));
        }
        Ok(Signers { keys: &delegations.keys, role: &role.keys })
    }

    /// The releases that a compatible's file names, by counter.
    pub(crate) fn releases(
        &self,
        compatible: &Compatible,
    ) -> Result<Vec<SignedRelease>, TrustError> {
        Targets::releases(self, compatible).map_err(|fault| self.refuse(fault))
    }
}

fn release(
    compatible: &Compatible,
    path: &str,
    target: &TargetFile,
) -> Result<SignedRelease, Misbehaviour> {
    let outside = || Misbehaviour::WrongName {
        name: path.to_owned(),
        allowed: format!("{compatible}/<release>.json"),
    };
    let broken = |what| Malformed::Target { path: path.to_owned(), what };
    let custom = target.custom.as_ref().ok_or_else(|| broken("it carries no facts"))?;
    let facts = ReleaseFacts::deserialize(custom).map_err(Malformed::Json)?;
    if path != path_of(compatible, &facts.release) {
        return Err(outside());
    }
    if facts.compatible != *compatible {
        return Err(broken("its facts are for another compatible").into());
    }
    let sha256 = target.hashes.sha256.ok_or_else(|| broken("it has no SHA-256"))?;
    Ok(SignedRelease::new(target.length, sha256, facts))
}
