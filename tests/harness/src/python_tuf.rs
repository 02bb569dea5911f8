//! python-tuf, the reference implementation of The Update Framework, to compare ours with.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::programs::target_dir;

/// The release that is compared with.
pub const VERSION: &str = "6.0.0";
/// With it python-tuf signs, and verifies more than Ed25519.
const CRYPTOGRAPHY: &str = "securesystemslib[crypto]";

/// Why python-tuf is not there.
#[derive(Debug, Error)]
pub enum PythonTufError {
    /// A program is missing.
    #[error("`{command}` does not start; install python3-venv")]
    Start {
        /// What was to run.
        command: String,
        /// The cause.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed; is the Python package index reachable?\n{stderr}")]
    Failed {
        /// What ran.
        command: String,
        /// What it said.
        stderr: String,
    },
    /// The file system refused.
    #[error("the virtual environment cannot be put in place")]
    Io(#[from] io::Error),
}

/// The Python of a virtual environment with python-tuf, made below the target folder the first
/// time. Several tests may ask at once.
pub fn python_tuf_venv() -> Result<PathBuf, PythonTufError> {
    let folder = target_dir().join(format!("python-tuf-{VERSION}-signing"));
    let (python, ready) = (folder.join("bin/python"), folder.join("ready"));
    fs_err::create_dir_all(target_dir())?;
    let lock = fs_err::File::create(target_dir().join("python-tuf.lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(io::Error::from)?;
    if !ready.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let package = format!("tuf=={VERSION}");
        let install = ["-m", "pip", "install", "--quiet", &package, CRYPTOGRAPHY];
        run(Command::new(&python).args(install))?;
        fs_err::write(&ready, VERSION)?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), PythonTufError> {
    let words = format!("{command:?}");
    let start = |source| PythonTufError::Start { command: words.clone(), source };
    let output = command.stdin(Stdio::null()).output().map_err(start)?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(PythonTufError::Failed { command: words, stderr })
}
