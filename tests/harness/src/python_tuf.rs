//! python-tuf, the reference implementation of The Update Framework, to compare ours with.

use std::path::PathBuf;

use crate::programs::target_dir;
use crate::venv::{VenvError, venv};

/// The release that is compared with.
pub const VERSION: &str = "6.0.0";
/// With it python-tuf signs, and verifies more than Ed25519.
const CRYPTOGRAPHY: &str = "securesystemslib[crypto]";

/// The Python of a virtual environment with python-tuf, made below the target folder the first
/// time.
pub fn python_tuf_venv() -> Result<PathBuf, VenvError> {
    let folder = target_dir().join(format!("python-tuf-{VERSION}-signing"));
    venv(&folder, &[&format!("tuf=={VERSION}"), CRYPTOGRAPHY])
}
