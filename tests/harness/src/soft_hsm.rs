//! SoftHSM, a PKCS #11 token in software.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use thiserror::Error;

/// The module that programs load.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// What opens the token.
pub const PIN: &str = "1234";

/// A token of its own, which is gone with this value.
#[derive(Debug)]
pub struct SoftHsm {
    folder: TempDir,
    label: String,
}

/// Why there is no token.
#[derive(Debug, Error)]
pub enum SoftHsmError {
    /// It is not installed.
    #[error("softhsm2-util does not start; install softhsm2")]
    Start(#[source] io::Error),
    /// It does not do what it should.
    #[error("`{command}` failed:\n{output}")]
    Failed {
        /// What ran.
        command: String,
        /// What it said.
        output: String,
    },
    /// The file system refused.
    #[error("the token's folder cannot be made")]
    Io(#[from] io::Error),
}

impl SoftHsm {
    /// A new token of that label.
    pub fn new(label: &str) -> Result<Self, SoftHsmError> {
        let hsm = Self { folder: tempfile::tempdir()?, label: label.to_owned() };
        let tokens = hsm.folder.path().join("tokens");
        fs_err::create_dir(&tokens)?;
        let config = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        fs_err::write(hsm.folder.path().join("softhsm2.conf"), config)?;
        hsm.run(&["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "0000"])?;
        Ok(hsm)
    }

    /// Puts a key pair there that was made elsewhere: a PKCS #8 file.
    pub fn import(&self, key: &Path, label: &str) -> Result<(), SoftHsmError> {
        let key = key.display().to_string();
        let import = ["--import", &key, "--token", &self.label, "--pin", PIN];
        self.run(&[&import[..], &["--label", label, "--id", "a1"]].concat())
    }

    /// What a program needs in its environment to find and open the token.
    pub fn environment(&self) -> [(&'static str, OsString); 3] {
        let config = self.folder.path().join("softhsm2.conf").into_os_string();
        [
            ("SOFTHSM2_CONF", config),
            ("SEESAW_PKCS11_MODULE", MODULE.into()),
            ("SEESAW_PKCS11_PIN", PIN.into()),
        ]
    }

    fn run(&self, arguments: &[&str]) -> Result<(), SoftHsmError> {
        let mut command = Command::new("softhsm2-util");
        command.args(arguments).envs(self.environment()).stdin(Stdio::null());
        let output = command.output().map_err(SoftHsmError::Start)?;
        if output.status.success() {
            return Ok(());
        }
        let command = format!("softhsm2-util {}", arguments.join(" "));
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(SoftHsmError::Failed { command, output })
    }
}
