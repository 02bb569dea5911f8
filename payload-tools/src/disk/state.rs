use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use partition_layout::Guid;
use partition_layout::slot_table::Partition;

/// STATE that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder with its first content is none.
    #[error("{} is no folder, and STATE was to begin with a copy of one", .0.display())]
    NoFolder(PathBuf),
    /// mke2fs is not there.
    #[error("cannot start mke2fs: install the package e2fsprogs")]
    Start(#[source] io::Error),
    /// mke2fs failed.
    #[error("mke2fs cannot make STATE of {size} bytes: {message}")]
    Failed {
        /// Bytes of the partition.
        size: u64,
        /// What it said.
        message: String,
    },
}

/// What mke2fs would say of it in words of its own, after everything else was made.
pub(super) fn check_content(content: Option<&Path>) -> Result<(), StateError> {
    match content {
        Some(folder) if !folder.is_dir() => Err(StateError::NoFolder(folder.to_owned())),
        _ => Ok(()),
    }
}

/// Makes the ext4 file system of STATE in its partition of the disk image `disk`,
/// with a copy of the folder `content`, owners included. The same folder gives
/// the same bytes, apart from the times of its files.
pub(super) fn make(
    disk: &Path,
    partition: &Partition,
    content: Option<&Path>,
    seed: Guid,
) -> Result<(), StateError> {
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-L", "STATE"]);
    if let Some(content) = content {
        command.arg("-d").arg(content);
    }
    let uuid = seed.to_string().to_lowercase();
    let offset = partition.offset;
    let extended = format!("offset={offset},hash_seed={uuid},root_owner=0:0,nodiscard");
    command.args(["-U", &uuid, "-E", &extended]);
    command.arg(disk).arg(format!("{}k", partition.size / 1024));
    // Not in every user's PATH; the times are those of the file system itself.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("E2FSPROGS_FAKE_TIME", "1");
    let output = command.env("LC_ALL", "C").output().map_err(StateError::Start)?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(StateError::Failed { size: partition.size, message })
}
