use serde::{Deserialize, Serialize};

use super::{Keys, Metadata, RoleKeys, Signers};
use crate::trust::error::{Malformed, Misbehaviour};
use crate::trust::role::Layout;

/// 4.3: the keys of the four top-level roles, and no other role's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Root {
    /// Left out, it is false (6.2.1).
    #[serde(default)]
    pub consistent_snapshot: bool,
    pub keys: Keys,
    pub roles: Roles,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roles {
    pub root: RoleKeys,
    pub targets: RoleKeys,
    pub snapshot: RoleKeys,
    pub timestamp: RoleKeys,
}

impl Root {
    /// 5.3.12: how the repository names its files.
    pub(crate) fn layout(&self) -> Layout {
        if self.consistent_snapshot { Layout::Consistent } else { Layout::Plain }
    }

    pub(crate) fn signers<'a>(&'a self, role: impl Fn(&'a Roles) -> &'a RoleKeys) -> Signers<'a> {
        Signers { keys: &self.keys, role: role(&self.roles) }
    }

    /// Whether a role has other keys or another threshold in the next root (5.3.11).
    pub(crate) fn rotates(&self, next: &Self, role: impl Fn(&Roles) -> &RoleKeys) -> Rotation {
        let (old, new) = (role(&self.roles), role(&next.roles));
        let same_keys = old.keyids.iter().all(|id| self.keys.get(id) == next.keys.get(id));
        if old == new && same_keys { Rotation::Same } else { Rotation::Rotated }
    }
}

/// What became of a role's keys from one root to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    Same,
    Rotated,
}

impl Metadata for Root {
    const TYPE: &'static str = "root";

    fn check(&self) -> Result<(), Misbehaviour> {
        let Roles { root, targets, snapshot, timestamp } = &self.roles;
        let named = [
            ("root", root),
            ("targets", targets),
            ("snapshot", snapshot),
            ("timestamp", timestamp),
        ];
        if let Some((name, _)) = named.iter().find(|(_, keys)| !keys.is_sound()) {
            return Err(Malformed::RoleKeys((*name).to_owned()).into());
        }
        Ok(())
    }
}
