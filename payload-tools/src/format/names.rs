use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image of a release is for, which decides the partition it goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The unified kernel image, KERNEL-x.
    Kernel,
    /// The root file system, ROOT-x.
    Root,
}

/// A name that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a {kind}: {rule}")]
pub struct NameError {
    /// What the name was to be.
    pub kind: &'static str,
    /// The text, cut to 80 characters.
    pub name: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// The board and architecture that a release is for, and so the name of the
/// delegated role that offers it: `[a-z0-9._-]{1,64}`, first a letter or digit,
/// none whose file of metadata (`<compatible>.json`) would have another file's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Compatible(String);

/// The name of a version of the OS: `[A-Za-z0-9._+-]{1,64}`, first a letter or
/// digit. It has no order; a release's counter does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release(String);

/// A named stream of releases, spelled like a [`Compatible`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Channel(String);

const NAME_LEN_MAX: usize = 64;
const LOWER_RULE: &str = "1 to 64 of a-z 0-9 . _ -, the first a letter or digit";
const RELEASE_RULE: &str = "1 to 64 of A-Z a-z 0-9 . _ + -, the first a letter or digit";
const RESERVED_RULE: &str = "its metadata would have the name of another file";
/// The top-level roles, and what a device keeps beside their files.
const RESERVED: [&str; 5] = ["root", "targets", "snapshot", "timestamp", "freshness"];
/// Roots are stored with their version: `2.root.json`.
const RESERVED_END: &str = ".root";

fn lower(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')
}

fn release(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-')
}

/// A leading dot or dash would make a hidden file, a parent folder or an option.
fn well_formed(text: &str, allowed: fn(u8) -> bool) -> bool {
    let first = text.bytes().next();
    text.len() <= NAME_LEN_MAX
        && first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(allowed)
}

fn refuse(kind: &'static str, text: &str, rule: &'static str) -> NameError {
    NameError { kind, name: text.chars().take(80).collect(), rule }
}

impl Role {
    /// Every role, in the order of the manifest.
    pub const ALL: [Role; 2] = [Role::Kernel, Role::Root];

    /// The role's name in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Kernel => "kernel",
            Role::Root => "root",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Compatible {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if !well_formed(text, lower) {
            return Err(refuse("compatible", text, LOWER_RULE));
        }
        if RESERVED.contains(&text) || text.ends_with(RESERVED_END) {
            return Err(refuse("compatible", text, RESERVED_RULE));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Release {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if !well_formed(text, release) {
            return Err(refuse("release", text, RELEASE_RULE));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Channel {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if !well_formed(text, lower) {
            return Err(refuse("channel", text, LOWER_RULE));
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! name_text {
    ($($name:ident)*) => {$(
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

name_text!(Compatible Release Channel);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_folder_or_pose_as_something_else() {
        for bad in ["", ".", "..", "-x", "a/b", "a b", "a\0", "é", &"a".repeat(65)] {
            assert!(bad.parse::<Compatible>().is_err(), "{bad:?}");
            assert!(bad.parse::<Release>().is_err(), "{bad:?}");
            assert!(bad.parse::<Channel>().is_err(), "{bad:?}");
        }
        for good in ["demo-x86_64", "a", "1.2_3-4", &"a".repeat(64)] {
            assert_eq!(good.parse::<Compatible>().unwrap().as_str(), good);
            assert_eq!(good.parse::<Release>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn only_releases_have_capitals_and_plus() {
        assert!("2026.11+Rc1".parse::<Release>().is_ok());
        assert!("2026.11+rc1".parse::<Compatible>().is_err());
        assert!("Stable".parse::<Channel>().is_err());
    }

    #[test]
    fn a_compatible_takes_no_other_files_name() {
        for name in RESERVED.into_iter().chain(["2.root", "demo.root"]) {
            assert_eq!(name.parse::<Compatible>().unwrap_err().rule, RESERVED_RULE);
            assert!(name.parse::<Release>().is_ok());
        }
        for name in ["2root", "root.2", "2.roots"] {
            assert!(name.parse::<Compatible>().is_ok(), "{name}");
        }
    }
}
