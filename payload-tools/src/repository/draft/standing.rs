use std::fmt;

use serde::Serialize;

use super::error::ids;
use crate::trust::KeyId;

/// How far the signatures of a file have come, by the word of one file that says who may sign it:
/// of a new root by that of the root before it, and by its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The file's role.
    pub role: String,
    /// The file's version.
    pub version: u64,
    /// The file that lists the keys, as in `root 2`.
    pub listed_in: String,
    /// So many must sign.
    pub threshold: u32,
    /// Those that have.
    pub signed: Vec<KeyId>,
    /// Those that may and have not.
    pub unsigned: Vec<KeyId>,
}

impl Standing {
    /// How many signatures lack.
    pub fn lacking(&self) -> usize {
        usize::try_from(self.threshold).unwrap_or(usize::MAX).saturating_sub(self.signed.len())
    }

    /// Whether enough have signed.
    pub fn is_complete(&self) -> bool {
        self.lacking() == 0
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, version, listed_in, threshold, signed, unsigned } = self;
        let (count, needed) = (signed.len(), usize::try_from(*threshold).unwrap_or(usize::MAX));
        write!(f, "{role} version {version} is signed by {count} ")?;
        if count <= needed {
            write!(f, "of {threshold} ")?;
        }
        write!(f, "keys of {listed_in}")?;
        if count > 0 {
            write!(f, " ({})", ids(signed))?;
        }
        if count > needed {
            write!(f, ", and {threshold} are enough")?;
        }
        match self.lacking() {
            0 => Ok(()),
            lacking => write!(f, ", {lacking} of {} must sign", ids(unsigned)),
        }
    }
}
