//! SoftHSM, a PKCS #11 token in software.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use thiserror::Error;

use crate::command::{self, CommandError};

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
    /// It does not do what it should.
    #[error(transparent)]
    Util(#[from] CommandError),
    /// The file system refused.
    #[error("the token's folder cannot be made")]
    Io(#[from] std::io::Error),
}

impl SoftHsm {
    /// A new token of that label.
    pub fn new(label: &str) -> Result<Self, SoftHsmError> {
        let hsm = Self { folder: tempfile::tempdir()?, label: label.to_owned() };
        let tokens = hsm.folder.path().join("tokens");
        fs_err::create_dir(&tokens)?;
        let config = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        fs_err::write(hsm.folder.path().join("softhsm2.conf"), config)?;
        hsm.util(
            "making a token",
            &["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "0000"],
        )?;
        Ok(hsm)
    }

    /// Puts a key pair there that was made elsewhere: a PKCS #8 file.
    pub fn import(&self, key: &Path, label: &str) -> Result<(), SoftHsmError> {
        let key = key.display().to_string();
        let import = ["--import", &key, "--token", &self.label, "--pin", PIN];
        self.util(
            "bringing a key to the token",
            &[&import[..], &["--label", label, "--id", "a1"]].concat(),
        )
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

    fn util(&self, step: &'static str, arguments: &[&str]) -> Result<(), SoftHsmError> {
        let mut util = Command::new("softhsm2-util");
        command::run(step, util.args(arguments).envs(self.environment()))?;
        Ok(())
    }
}
