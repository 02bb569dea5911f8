//! Virtual environments for other people's Python packages.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

use crate::command::{CommandError, run};

/// Why a package of Python is not there.
#[derive(Debug, Error)]
pub enum VenvError {
    /// A program is missing, or the package index cannot be reached.
    #[error(transparent)]
    Command(#[from] CommandError),
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
        let mut make = Command::new("python3");
        run(
            "making a virtual environment (python3-venv)",
            make.args(["-m", "venv", "--clear"]).arg(folder),
        )?;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet"]).args(packages);
        run("installing packages from the Python package index", &mut install)?;
        fs_err::write(&ready, packages.join("\n"))?;
    }
    Ok(python)
}
