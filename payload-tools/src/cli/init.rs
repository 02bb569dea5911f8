use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::publisher::PublisherArgs;
use super::{Failure, Output};
use crate::format::Compatible;
use crate::repository::{Draft, lifetime_days};
use crate::trust::{PublicKey, UnixTime};

const EXAMPLES: &str = "\
Examples:
  payload init --compatible demo-x86_64 --timestamp-key server/timestamp.pub
  payload init --compatible demo-aarch64          (later: one more compatible)";

/// Begin a repository, or add compatibles to one.
///
/// The first time it writes metadata/1.root.json, the first root of trust, which images carry in
/// /usr/lib/seesaw. That names the server's timestamp key for good: run `update-server init` first.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    #[command(flatten)]
    publisher: PublisherArgs,
    /// The timestamp key that `update-server init` printed: hex digits, or a file with them or a PEM.
    #[arg(long, value_name = "KEY")]
    timestamp_key: Option<String>,
    /// A compatible to give a role, whose key is there; may be given again.
    #[arg(long, value_name = "NAME", required = true)]
    compatible: Vec<Compatible>,
}

#[derive(Debug, Serialize)]
struct InitReport {
    first_root: PathBuf,
    begun: bool,
    added: Vec<Compatible>,
}

/// Why the command line does not go with the folder.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("a new repository needs --timestamp-key, which `update-server init` prints")]
    NoTimestampKey,
    #[error(
        "the repository has its timestamp key already; leave --timestamp-key out to add compatibles"
    )]
    Begun,
}

impl Init {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let folder = self.publisher.folder();
        let (keyring, now) = (folder.keyring()?, UnixTime::of_system_clock());
        let begun = !folder.is_begun();
        let (draft, added) = match (&self.timestamp_key, begun) {
            (None, true) => return Err(Failure::usage(InitError::NoTimestampKey)),
            (Some(_), false) => return Err(Failure::usage(InitError::Begun)),
            (Some(key), true) => {
                let draft = Draft::begin(&keyring, &public_key(key)?, &self.compatible, now)?;
                (draft, self.compatible.clone())
            }
            (None, false) => {
                let mut draft = folder.draft()?;
                let added = draft.delegate(&keyring, &self.compatible, now)?;
                (draft, added)
            }
        };
        folder.store(&draft)?;
        output.report(&InitReport { first_root: folder.first_root(), begun, added })
    }
}

/// A key as it stands on the command line, or in the file of that name.
fn public_key(text: &str) -> Result<PublicKey, Failure> {
    match text.parse() {
        Ok(key) => Ok(key),
        Err(error) if !Path::new(text).exists() => Err(Failure::usage(error)),
        Err(_) => Ok(fs_err::read_to_string(text)?.parse()?),
    }
}

impl fmt::Display for InitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.begun {
            let years = lifetime_days::ROOT / 365;
            writeln!(
                f,
                "first root of trust, good for {years} years: {}",
                self.first_root.display()
            )?;
        }
        match self.added.as_slice() {
            [] => writeln!(f, "every compatible has its role already"),
            added => added.iter().try_for_each(|name| writeln!(f, "role for {name}")),
        }
    }
}
