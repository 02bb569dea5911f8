//! Virtual environments for other people's Python packages.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

/// Why a package of Python is not there.
#[derive(Debug, Error)]
pub enum VenvError {
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

/// The Python of the virtual environment `folder`, made with `packages` (as pip takes them) the
/// first time. Several processes may ask at once.
pub fn venv(folder: &Path, packages: &[&str]) -> Result<PathBuf, VenvError> {
    let (python, ready) = (folder.join("bin/python"), folder.join("ready"));
    fs_err::create_dir_all(folder)?;
    let mut beside = folder.as_os_str().to_owned();
    beside.push(".lock");
    let lock = fs_err::File::create(PathBuf::from(beside))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(io::Error::from)?;
    if !ready.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
        let install = ["-m", "pip", "install", "--quiet"];
        run(Command::new(&python).args(install).args(packages))?;
        fs_err::write(&ready, packages.join("\n"))?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), VenvError> {
    let words = format!("{command:?}");
    let start = |source| VenvError::Start { command: words.clone(), source };
    let output = command.stdin(Stdio::null()).output().map_err(start)?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(VenvError::Failed { command: words, stderr })
}
