//! Outputs that appear complete or not at all, and in nothing's place.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::durable_file::{self, Readers, folder_of};

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

/// An empty folder beside `out`, removed unless it is [named](name_folder) in the end; makes the
/// folder of `out` where there is none.
pub(crate) fn folder_beside(out: &Path) -> io::Result<tempfile::TempDir> {
    let parent = folder_of(out);
    durable_file::make_folder(parent, Readers::Everyone)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".payload-").permissions(Permissions::from_mode(0o755));
    builder.tempdir_in(parent)
}

/// Gives a folder its name, durably: what is in it must be durable already.
pub(crate) fn name_folder(folder: tempfile::TempDir, out: &Path) -> io::Result<()> {
    fs_err::rename(folder.path(), out)?;
    // It has another name now: nothing is left to be removed.
    let _gone = folder.keep();
    durable_file::sync_folder(folder_of(out))
}
