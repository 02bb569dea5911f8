use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::publisher::PublisherArgs;
use super::{Failure, Output};
use crate::format::Compatible;
use crate::repository::Made;
use crate::trust::{KeyId, Role};

const EXAMPLES: &str = "\
Examples:
  payload keygen --compatible demo-x86_64
  payload keygen --publisher /srv/publisher --compatible demo-x86_64 --compatible demo-aarch64";

/// Make the publisher's keys: root, targets, snapshot, and one per compatible.
///
/// Keys that are there are kept. They are not encrypted: move root and targets off this machine
/// when `payload init` is done, and bring them back for changes to compatibles.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Keygen {
    #[command(flatten)]
    publisher: PublisherArgs,
    /// A compatible to make a key for; may be given again.
    #[arg(long, value_name = "NAME")]
    compatible: Vec<Compatible>,
}

#[derive(Debug, Serialize)]
struct KeysReport {
    keys: Vec<KeyReport>,
}

#[derive(Debug, Serialize)]
struct KeyReport {
    role: String,
    id: KeyId,
    public: String,
    path: PathBuf,
    new: bool,
}

impl Keygen {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let mut keyring = self.publisher.folder().keyring()?;
        let mut roles = vec![Role::Root, Role::Targets, Role::Snapshot];
        roles.extend(self.compatible.iter().map(Role::from));
        let mut keys = Vec::new();
        for role in roles {
            let new = keyring.make(&role)? == Made::New;
            let key = keyring.public(&role)?;
            let (id, public) = (key.id().clone(), key.to_string());
            keys.push(KeyReport {
                role: role.to_string(),
                id,
                public,
                path: keyring.path(&role),
                new,
            });
        }
        output.report(&KeysReport { keys })
    }
}

impl fmt::Display for KeysReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for KeyReport { role, id, path, new, .. } in &self.keys {
            let made = if *new { "new " } else { "kept" };
            writeln!(f, "{made} key {:.16} of {role}: {}", id.to_string(), path.display())?;
        }
        Ok(())
    }
}
