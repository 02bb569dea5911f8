//! Signs UEFI programs with the test key that [`crate::firmware::Firmware::secure_boot`] trusts.
//!
//! The key pair is the ovmf package's; everyone has it, so it is for tests and the demo only.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const KEY: &str = "/usr/share/ovmf/PkKek-1-snakeoil.key";
const CERTIFICATE: &str = "/usr/share/ovmf/PkKek-1-snakeoil.pem";
const PASSPHRASE: &str = "snakeoil";

/// Why a program could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A tool could not be run.
    #[error("running {tool} failed; is the Debian package {package} installed?")]
    Run {
        /// The program.
        tool: &'static str,
        /// The package that has it.
        package: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A tool ran and failed.
    #[error("{tool} failed for {}: {stderr}", file.display())]
    Tool {
        /// The program.
        tool: &'static str,
        /// The file it worked on.
        file: PathBuf,
        /// What it said.
        stderr: String,
    },
    /// A file could not be made.
    #[error("writing the key or the signed program failed")]
    Write(#[from] io::Error),
}

/// Signs the UEFI program `unsigned` into the file `signed`.
pub fn sign(unsigned: &Path, signed: &Path) -> Result<(), SignError> {
    let key = decrypted_key()?;
    // A signature says when it was made; a clock that stands gives the same bits each time.
    let output = Command::new("faketime")
        .args(["-f", "2026-01-01 00:00:00", "sbsign", "--key"])
        .arg(key.path())
        .args(["--cert", CERTIFICATE, "--output"])
        .args([signed, unsigned])
        .output()
        .map_err(|source| SignError::Run { tool: "faketime", package: "faketime", source })?;
    if !output.status.success() {
        return Err(tool_error("sbsign", unsigned, &output.stderr));
    }
    Ok(())
}

/// sbsign would ask for the passphrase on the terminal.
fn decrypted_key() -> Result<tempfile::NamedTempFile, SignError> {
    let mut openssl = Command::new("openssl")
        .args(["pkey", "-in", KEY, "-passin", "stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| SignError::Run { tool: "openssl", package: "openssl", source })?;
    if let Some(mut stdin) = openssl.stdin.take() {
        stdin.write_all(PASSPHRASE.as_bytes())?;
    }
    let output = openssl.wait_with_output()?;
    if !output.status.success() {
        return Err(tool_error("openssl", Path::new(KEY), &output.stderr));
    }
    let mut key = tempfile::NamedTempFile::new()?;
    key.write_all(&output.stdout)?;
    Ok(key)
}

fn tool_error(tool: &'static str, file: &Path, stderr: &[u8]) -> SignError {
    let stderr = String::from_utf8_lossy(stderr).trim().to_owned();
    SignError::Tool { tool, file: file.to_owned(), stderr }
}
