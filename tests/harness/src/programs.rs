//! The product's own programs, built once and found by path.
//!
//! A test of one crate has `CARGO_BIN_EXE_*`; a test of the whole product needs the programs of
//! every crate, so it asks cargo to bring them up to date.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use thiserror::Error;

use crate::cargo::cargo;

/// Paths of the four programs, built from this checkout.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The publisher's tool.
    pub payload: PathBuf,
    /// The server.
    pub update_server: PathBuf,
    /// The device's daemon.
    pub update_agent: PathBuf,
    /// The device's command line.
    pub updatectl: PathBuf,
}

/// The programs could not be built.
#[derive(Debug, Error)]
pub enum ProgramsError {
    /// cargo itself could not be started.
    #[error("starting `{program} build`: is cargo installed?")]
    Start {
        /// The cargo that was tried.
        program: PathBuf,
        /// Why it did not start.
        source: std::io::Error,
    },
    /// cargo ran and failed; what it printed follows.
    #[error("`cargo build` of the product's programs failed:\n{output}")]
    Build {
        /// What cargo printed.
        output: String,
    },
}

/// The root of this checkout.
pub fn checkout() -> &'static Path {
    // tests/harness is two folders below it.
    let harness = Path::new(env!("CARGO_MANIFEST_DIR"));
    harness.ancestors().nth(2).unwrap_or(harness)
}

/// The folder for everything that is built or cached: cargo's target directory.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => checkout().join(dir),
        None => checkout().join("target"),
    }
}

/// Brings the four programs up to date (once in this process) and says where they are.
pub fn programs() -> Result<Programs, ProgramsError> {
    static BUILT: OnceLock<()> = OnceLock::new();
    if BUILT.get().is_none() {
        // The whole workspace, as the test command builds it: the same features, so nothing is built twice.
        build(&["--workspace", "--bins"])?;
        let _ = BUILT.set(());
    }
    Ok(Programs::below("debug"))
}

/// Builds the four programs as they are shipped: each with its own crates and features only.
pub fn release_programs() -> Result<Programs, ProgramsError> {
    for package in ["payload-tools", "seesaw-update-server", "seesaw-agent"] {
        build_release(package)?;
    }
    Ok(Programs::below("release"))
}

/// Builds the publisher's tool alone as it is shipped.
pub fn release_payload() -> Result<PathBuf, ProgramsError> {
    build_release("payload-tools")?;
    Ok(Programs::below("release").payload)
}

fn build_release(package: &str) -> Result<(), ProgramsError> {
    build(&["--release", "--locked", "--package", package, "--bins"])
}

impl Programs {
    fn below(profile: &str) -> Self {
        let bin = target_dir().join(profile);
        Self {
            payload: bin.join("payload"),
            update_server: bin.join("update-server"),
            update_agent: bin.join("update-agent"),
            updatectl: bin.join("updatectl"),
        }
    }
}

fn build(arguments: &[&str]) -> Result<(), ProgramsError> {
    let mut command = cargo();
    let program = PathBuf::from(command.get_program());
    let output = command
        .args(["build", "--quiet"])
        .args(arguments)
        .output()
        .map_err(|source| ProgramsError::Start { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(ProgramsError::Build { output: String::from_utf8_lossy(&output.stderr).into_owned() })
}
