//! Outputs that appear in nothing's place.

use std::path::{Path, PathBuf};

/// Something has the name that an output is to have: a file, a folder, a device.
#[derive(Debug, thiserror::Error)]
#[error("{} is there already", path.display())]
pub struct OutputExists {
    /// The name.
    pub path: PathBuf,
}

/// Asks before the work what [`Existing::Refuse`](crate::durable_file::Existing) settles after it.
pub(crate) fn refuse_existing(out: &Path) -> Result<(), OutputExists> {
    match fs_err::symlink_metadata(out) {
        Ok(_) => Err(OutputExists { path: out.to_owned() }),
        // What else may be wrong is found when it is written.
        Err(_) => Ok(()),
    }
}
