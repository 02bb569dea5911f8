//! What is kept of the deltas that the server makes by itself.

use crate::deltas::{Pair, Standing};
use crate::names::Hash;

/// A delta that the server made, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaRecord {
    /// Between which images.
    pub pair: Pair,
    /// What came of it.
    pub standing: Standing,
    /// SHA-256 of the file, if it is kept: whether a publisher has uploaded another since.
    pub sha256: Option<Hash>,
}
