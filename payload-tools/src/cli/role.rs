use clap::{Args, Subcommand};

use super::draft::report_changed;
use super::key::warn_of_removal;
use super::publisher::{PublisherArgs, public_key};
use super::{Failure, Output};
use crate::format::Compatible;
use crate::repository::{KeyChange, RoleSeed};
use crate::trust::{Role, UnixTime};

/// Change which compatibles have a role, and how many keys must sign for any role.
///
/// The change is made in draft/, where others gather until `payload sign` and `payload publish`.
#[derive(Debug, Args)]
pub(super) struct RoleArgs {
    #[command(subcommand)]
    verb: RoleVerb,
}

#[derive(Debug, Subcommand)]
enum RoleVerb {
    /// Give a compatible a role of its own, whose keys sign its releases.
    ///
    /// Only public keys are needed here, and what is made is signed by targets' keys and by these: a
    /// team signs its own compatible, and no other.
    #[command(after_help = "Examples:\n  payload role add demo-aarch64\n  \
                            payload role add demo-aarch64 --key team-1.pub --key team-2.pub --threshold 2")]
    Add {
        /// Board and architecture.
        compatible: Compatible,
        #[command(flatten)]
        publisher: PublisherArgs,
        /// A public key, in hex digits or a file, that signs its releases; may be given again. Without
        /// one it is the key that `payload keygen` called so.
        #[arg(long, value_name = "KEY")]
        key: Vec<String>,
        /// How many of the keys must sign.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        threshold: u32,
    },
    /// Take a compatible's role away: devices believe none of its releases any more.
    #[command(after_help = "Examples:\n  payload role remove demo-aarch64")]
    Remove {
        /// Board and architecture.
        compatible: Compatible,
        #[command(flatten)]
        publisher: PublisherArgs,
    },
    /// Set how many of a role's keys must sign.
    #[command(after_help = "Examples:\n  payload role threshold root 2")]
    Threshold {
        /// root, targets, snapshot, or a compatible.
        role: Role,
        /// So many.
        number: u32,
        #[command(flatten)]
        publisher: PublisherArgs,
    },
}

impl RoleArgs {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let now = UnixTime::of_system_clock();
        match self.verb {
            RoleVerb::Add { compatible, publisher, key, threshold } => {
                let folder = publisher.repository()?;
                let mut keys =
                    key.iter().map(|key| public_key(key)).collect::<Result<Vec<_>, _>>()?;
                if keys.is_empty() {
                    keys.push(folder.keyring()?.public(&Role::from(&compatible))?.clone());
                }
                let before = folder.draft()?;
                let mut draft = before.clone();
                let seed = RoleSeed { keys, threshold };
                draft.add_role(&compatible, &seed, now)?;
                let role = Role::from(&compatible);
                seed.keys.iter().for_each(|key| warn_of_removal(&draft, key, &role));
                report_changed(&folder, &before, &draft, output)
            }
            RoleVerb::Remove { compatible, publisher } => {
                let folder = publisher.repository()?;
                let before = folder.draft()?;
                let mut draft = before.clone();
                draft.remove_role(&compatible, now)?;
                report_changed(&folder, &before, &draft, output)
            }
            RoleVerb::Threshold { role, number, publisher } => {
                let folder = publisher.repository()?;
                let before = folder.draft()?;
                let mut draft = before.clone();
                draft.change_keys(&role, &[KeyChange::Threshold(number)], now)?;
                report_changed(&folder, &before, &draft, output)
            }
        }
    }
}
