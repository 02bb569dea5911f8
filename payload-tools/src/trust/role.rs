//! The roles of The Update Framework, and the names of their files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::Malformed;
use crate::format::{Compatible, NameError};

/// Whose word a file of metadata is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The keys of the other roles.
    Root,
    /// Which snapshot is the newest; signed by the server.
    Timestamp,
    /// Which version of targets and of every delegated role belong together.
    Snapshot,
    /// The top of the delegations; in this project, which compatibles there are.
    Targets,
    /// A role below targets; in this project, the releases of one compatible.
    Delegated(RoleName),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
            Self::Delegated(name) => &name.0,
        })
    }
}

impl FromStr for Role {
    type Err = NameError;

    /// A top-level role, or else a compatible's.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let top = [Self::Root, Self::Timestamp, Self::Snapshot, Self::Targets];
        match top.into_iter().find(|role| role.to_string() == text) {
            Some(role) => Ok(role),
            None => Ok(Self::from(&text.parse::<Compatible>()?)),
        }
    }
}

/// The name of a delegated role (4.5, `ROLENAME`): any text but the empty one and those whose
/// file would be a top-level role's, which are `root` and its kin and `2.root` and its kin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RoleName(String);

impl RoleName {
    /// The name as metadata has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RoleName {
    type Error = Malformed;

    fn try_from(name: String) -> Result<Self, Malformed> {
        let top = [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets];
        let taken = top.iter().any(|role| role.to_string() == name) || name.ends_with(".root");
        if name.is_empty() || taken { Err(Malformed::RoleName(name)) } else { Ok(Self(name)) }
    }
}

/// A compatible's role is named as the compatible.
impl From<&Compatible> for RoleName {
    fn from(compatible: &Compatible) -> Self {
        Self(compatible.to_string())
    }
}

impl From<&Compatible> for Role {
    fn from(compatible: &Compatible) -> Self {
        Self::Delegated(compatible.into())
    }
}

/// How a repository names its files (6.2), by the word of its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Consistent snapshots: the version or hash before the name.
    Consistent,
    /// The name alone.
    Plain,
}

impl Role {
    /// The name by which the snapshot or the timestamp names the role's file (4.4, `METAPATH`).
    pub(crate) fn meta_path(&self) -> String {
        format!("{self}.json")
    }

    /// The name of the role's file on a server, one segment of a URL's path.
    pub(crate) fn published_name(&self, layout: Layout, version: u64) -> String {
        let name = stored_name(self);
        match (self, layout) {
            // 5.3.3 and 5.4.1: always the one, never the other.
            (Self::Timestamp, _) => name,
            (Self::Root, _) | (_, Layout::Consistent) => format!("{version}.{name}"),
            (_, Layout::Plain) => name,
        }
    }
}

/// The name under which a role's newest file is stored: safe as a file's name and in a URL,
/// whatever the role is called.
pub(crate) fn stored_name(role: &Role) -> String {
    format!("{}.json", percent_encoded(&role.to_string()))
}

/// The text with every byte but RFC 3986's unreserved ones written as `%2F`.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_takes_a_top_level_roles_file() {
        for taken in ["", "root", "timestamp", "snapshot", "targets", "2.root", "x.root"] {
            assert!(RoleName::try_from(taken.to_owned()).is_err(), "{taken}");
        }
        for free in ["roots", "root.2", "Root", "/root", "..", "2"] {
            assert!(RoleName::try_from(free.to_owned()).is_ok(), "{free}");
        }
    }

    #[test]
    fn a_files_name_is_one_segment_whatever_the_role_is_called() {
        for (name, stored) in [
            ("demo-x86_64", "demo-x86_64.json"),
            ("?", "%3F.json"),
            ("#", "%23.json"),
            ("../a", "..%2Fa.json"),
            ("%2F", "%252F.json"),
            ("ü\0", "%C3%BC%00.json"),
        ] {
            let role = Role::Delegated(RoleName(name.to_owned()));
            assert_eq!(stored_name(&role), stored);
            assert_eq!(role.published_name(Layout::Consistent, 7), format!("7.{stored}"));
            assert_eq!(role.published_name(Layout::Plain, 7), stored);
            assert_eq!(role.meta_path(), format!("{name}.json"));
        }
        assert_eq!(Role::Timestamp.published_name(Layout::Consistent, 7), "timestamp.json");
        assert_eq!(Role::Root.published_name(Layout::Plain, 7), "7.root.json");
    }
}
