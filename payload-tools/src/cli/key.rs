use clap::{Args, Subcommand};

use super::draft::report_changed;
use super::publisher::{PublisherArgs, listed_key, public_key};
use super::{Failure, Output};
use crate::repository::{Draft, KeyChange};
use crate::trust::{PublicKey, Role, UnixTime};

const EXAMPLES: &str = "\
Examples:
  payload key add root bob.pub
  payload key revoke root 1f0c33aa9e74d2b6
  payload key rotate timestamp 1f0c33aa9e74d2b6 server/timestamp.next.pub";

/// Change which keys sign for a role: root, targets, snapshot, timestamp, or a compatible.
///
/// The change is made in draft/, where others gather until `payload sign` and `payload publish`: the
/// next root is signed by the keys of the one before it and by its own. What the keys that are left
/// have not signed is signed anew. `payload inspect` lists the keys.
#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// Let more keys sign for a role.
    #[command(after_help = "Examples:\n  payload key add root ann.pub bob.pub --threshold 2")]
    Add {
        #[command(flatten)]
        of: OfRole,
        /// A public key, in hex digits or a file; may be given again.
        #[arg(required = true, value_name = "KEY")]
        key: Vec<String>,
    },
    /// Let keys sign no longer for a role: one that was lost, or stolen.
    #[command(after_help = "Examples:\n  payload key revoke root 1f0c33aa9e74d2b6 --threshold 1")]
    Revoke {
        #[command(flatten)]
        of: OfRole,
        /// The first 8 digits of a key's id, or more, or the public key; may be given again.
        #[arg(required = true, value_name = "KEY")]
        key: Vec<String>,
    },
    /// Put a new key in the place of one.
    #[command(after_help = EXAMPLES)]
    Rotate {
        #[command(flatten)]
        of: OfRole,
        /// The first 8 digits of the old key's id, or more, or the public key.
        #[arg(value_name = "OLD")]
        old: String,
        /// The new public key, in hex digits or a file.
        #[arg(value_name = "NEW")]
        new: String,
    },
}

#[derive(Debug, Args)]
struct OfRole {
    /// root, targets, snapshot, timestamp, or a compatible.
    role: Role,
    #[command(flatten)]
    publisher: PublisherArgs,
    /// How many of its keys must sign from then on; as before where it is not said.
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<u32>,
}

impl Key {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        match self.verb {
            KeyVerb::Add { of, key } => of.change(output, |_| {
                key.iter().map(|key| Ok(KeyChange::Add(public_key(key)?))).collect()
            }),
            KeyVerb::Revoke { of, key } => of.change(output, |listed| {
                key.iter().map(|key| Ok(KeyChange::Revoke(listed_key(key, listed)?))).collect()
            }),
            KeyVerb::Rotate { of, old, new } => of.change(output, |listed| {
                let old = KeyChange::Revoke(listed_key(&old, listed)?);
                Ok(vec![old, KeyChange::Add(public_key(&new)?)])
            }),
        }
    }
}

impl OfRole {
    fn change(
        self,
        output: &Output,
        changes: impl FnOnce(&[crate::trust::KeyId]) -> Result<Vec<KeyChange>, Failure>,
    ) -> Result<(), Failure> {
        let folder = self.publisher.repository()?;
        let before = folder.draft()?;
        let mut draft = before.clone();
        let mut changes = changes(&draft.key_ids(&self.role)?)?;
        changes.extend(self.threshold.map(KeyChange::Threshold));
        draft.change_keys(&self.role, &changes, UnixTime::of_system_clock())?;
        self.warn(&draft, &changes)?;
        report_changed(&folder, &before, &draft, output)
    }

    /// Tells what is allowed and seldom meant.
    fn warn(&self, draft: &Draft, changes: &[KeyChange]) -> Result<(), Failure> {
        for change in changes {
            if let KeyChange::Add(key) = change {
                warn_of_removal(draft, key, &self.role);
            }
        }
        let (keys, threshold) = (draft.key_ids(&self.role)?.len(), draft.threshold(&self.role)?);
        let revoked = changes.iter().any(|change| matches!(change, KeyChange::Revoke(_)));
        let spare = keys > usize::try_from(threshold).unwrap_or(usize::MAX);
        if self.role == Role::Root && revoked && !spare {
            eprintln!(
                "warning: root has {keys} keys left and needs {threshold} of them: lose one, and no root \
                 can follow any more; have one more than the threshold (`payload key add root`)"
            );
        }
        Ok(())
    }
}

/// Tells that a key that comes in has gone before, maybe because it was stolen.
pub(super) fn warn_of_removal(draft: &Draft, key: &PublicKey, role: &Role) {
    if let Some(removal) = draft.removal(key.id(), Some(role)) {
        eprintln!(
            "warning: key {:.16} {removal}; if it was lost or stolen, do not go on",
            key.id()
        );
    }
}
