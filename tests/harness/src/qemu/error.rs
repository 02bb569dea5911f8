//! What goes wrong with a guest.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a guest did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// QEMU itself could not be run.
    #[error("starting {program} failed; is the Debian package qemu-system-x86 installed?")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file or socket of the guest failed.
    #[error("{step} failed for the guest in {}", dir.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// The guest's folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// QEMU ended before the text came.
    #[error("QEMU ended ({status}) before the console said {wanted:?}; its last lines:\n{tail}")]
    Ended {
        /// QEMU's exit status.
        status: String,
        /// What was waited for.
        wanted: Vec<String>,
        /// The end of the console.
        tail: String,
    },
    /// The deadline passed first.
    #[error("the console did not say {wanted:?} within {} s; its last lines:\n{tail}", after.as_secs())]
    Silent {
        /// What was waited for.
        wanted: Vec<String>,
        /// The deadline.
        after: Duration,
        /// The end of the console.
        tail: String,
    },
    /// QEMU was still running at the deadline.
    #[error("QEMU did not end within {} s; its last lines:\n{tail}", after.as_secs())]
    StillRunning {
        /// The deadline.
        after: Duration,
        /// The end of the console.
        tail: String,
    },
    /// The control socket did not do what it was told.
    #[error("QEMU's control socket: {what}; QEMU said: {stderr}")]
    Control {
        /// What went wrong.
        what: String,
        /// QEMU's standard error.
        stderr: String,
    },
}

pub(super) fn io_error(step: &'static str, dir: &Path) -> impl FnOnce(io::Error) -> QemuError {
    let dir = dir.to_owned();
    move |source| QemuError::Io { step, dir, source }
}
