//! How `updatectl` speaks to the daemon: one line of JSON each way over a Unix
//! socket; a command that began work, or joined it, is followed by lines of status
//! until that is over.

mod client;
mod server;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use client::{Connection, IpcError, Shown};
pub use server::serve;

use crate::status::Status;
use crate::update::{Answer, Command};

/// Longest line that is read, in bytes.
const LINE_MAX: u64 = 1 << 20;

/// The socket in the runtime folder.
pub fn socket(run: &Path) -> PathBuf {
    run.join("agent.sock")
}

/// A line to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// How the device is.
    Status,
    /// Do something.
    Command {
        /// What.
        command: Command,
    },
}

/// A line from the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// How the device is; the last one when what a command asked for is over.
    Status(Box<Status>),
    /// What the command met at once.
    Answer(Answer),
    /// Nothing was done.
    Error(String),
}
