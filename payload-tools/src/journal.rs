//! Whether systemd's journal listens: it gives each line its time and its level.

use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

/// Whether standard error goes to the journal, and not only that of the process above
/// (systemd.exec(5), JOURNAL_STREAM).
pub fn has_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let metadata = stderr.and_then(|stderr| stderr.metadata());
    metadata.is_ok_and(|found| stream == format!("{}:{}", found.dev(), found.ino()))
}
