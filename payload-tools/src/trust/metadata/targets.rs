use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Hashes, Keys, Metadata, RoleKeys, Signers, Verified};
use crate::format::{Compatible, ReleaseFacts};
use crate::trust::error::{Malformed, Misbehaviour, TrustError};
use crate::trust::release::{SignedRelease, path_of};

/// 4.5: the top-level file, which only delegates, and a compatible's file, which names releases.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    pub roles: Vec<Delegation>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Delegation {
    pub name: String,
    #[serde(flatten)]
    pub keys: RoleKeys,
    #[serde(default)]
    pub paths: Vec<String>,
    pub terminating: bool,
}

impl Metadata for Targets {
    const TYPE: &'static str = "targets";

    fn check(&self) -> Result<(), Misbehaviour> {
        let roles = self.delegations.iter().flat_map(|delegations| &delegations.roles);
        let mut names = BTreeSet::new();
        for role in roles {
            if !role.keys.is_sound() || !names.insert(&role.name) {
                return Err(Malformed::RoleKeys(role.name.clone()).into());
            }
        }
        Ok(())
    }
}

/// The only pattern that a compatible's role is trusted for.
pub(crate) fn pattern(compatible: &Compatible) -> String {
    format!("{compatible}/*")
}

impl Verified<Targets> {
    /// Who may sign for a compatible. Of the specification's search through delegations (5.6.7)
    /// one step is left: the one terminating role that is named as the compatible.
    pub(crate) fn delegated(&self, compatible: &Compatible) -> Result<Signers<'_>, TrustError> {
        let found = self.delegations.as_ref().and_then(|delegations| {
            let named = |role: &&Delegation| role.name == compatible.as_str();
            Some((delegations, delegations.roles.iter().find(named)?))
        });
        let Some((delegations, role)) = found else {
            return Err(TrustError::NotDelegated {
                compatible: compatible.clone(),
                targets_version: self.version(),
            });
        };
        let allowed = pattern(compatible);
        if role.paths != [allowed.as_str()] || !role.terminating {
            let name = format!("{} for {:?}", role.name, role.paths);
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
        let mut releases = Vec::new();
        for (path, target) in &self.targets {
            let release = release(compatible, path, target).map_err(|fault| self.refuse(fault))?;
            releases.push(release);
        }
        releases.sort_by_key(|release| release.facts().counter);
        let twice =
            releases.windows(2).find(|pair| pair[0].facts().counter == pair[1].facts().counter);
        match twice {
            Some(pair) => Err(self.refuse(Malformed::SameCounter(pair[0].facts().counter))),
            None => Ok(releases),
        }
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
    Ok(SignedRelease::new(target.length, target.hashes.sha256, facts))
}
