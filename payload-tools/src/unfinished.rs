//! Outputs that appear complete or not at all.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::durable_file::folder_of;

/// An empty file in the folder of `out`, removed unless it is renamed in the end.
pub(crate) fn file_beside(out: &Path) -> io::Result<tempfile::TempPath> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".payload-").permissions(Permissions::from_mode(0o644));
    Ok(builder.tempfile_in(folder_of(out))?.into_temp_path())
}

/// As [`file_beside`], a folder; makes the folder of `out` where there is none.
pub(crate) fn folder_beside(out: &Path) -> io::Result<tempfile::TempDir> {
    let parent = folder_of(out);
    fs_err::create_dir_all(parent)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".payload-").permissions(Permissions::from_mode(0o755));
    builder.tempdir_in(parent)
}
