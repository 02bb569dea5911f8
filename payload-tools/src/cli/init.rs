use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use super::consent::ConsentArgs;
use super::publisher::{PublisherArgs, public_key};
use super::{Failure, Output};
use crate::format::Compatible;
use crate::repository::{Birth, Draft, Keyring, RoleSeed, Standing, lifetime_days};
use crate::trust::{Role, UnixTime};

const EXAMPLES: &str = "\
Examples:
  payload init --compatible demo-x86_64 --timestamp-key server/timestamp.pub
  payload init --compatible demo-x86_64 --timestamp-key server/timestamp.pub \\
      --key root=ann.pub --key root=bob.pub --key root=eve.pub --threshold root=2";

/// Begin a repository: its root, targets, and a role for each compatible.
///
/// It makes metadata/1.root.json, the first root of trust, which images carry in /usr/lib/seesaw, once
/// enough of root's keys have signed: where they are not all here, it makes a draft to be carried to
/// them (`payload draft`). Root names the server's timestamp key: run `update-server init` first.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    #[command(flatten)]
    publisher: PublisherArgs,
    /// The timestamp key that `update-server init` printed: hex digits, or a file with them or a PEM.
    #[arg(long, value_name = "KEY")]
    timestamp_key: String,
    /// A compatible to give a role; may be given again.
    #[arg(long, value_name = "NAME", required = true)]
    compatible: Vec<Compatible>,
    /// A public key that signs for a role (root, targets, snapshot, or a compatible), in hex digits or
    /// a file; may be given again. A role without one has the key that `payload keygen` called so.
    #[arg(long, value_name = "ROLE=KEY", value_parser = of_role::<String>)]
    key: Vec<(Role, String)>,
    /// How many of a role's keys must sign, 1 where it is not said; may be given again.
    #[arg(long, value_name = "ROLE=NUMBER", value_parser = of_role::<u32>)]
    threshold: Vec<(Role, u32)>,
    #[command(flatten)]
    consent: ConsentArgs,
}

#[derive(Debug, Serialize)]
struct InitReport {
    first_root: PathBuf,
    begun: bool,
    added: Vec<Compatible>,
    /// How far the signatures of what is not begun yet have come.
    signatures: Vec<Standing>,
}

/// Why the command line does not go with the folder.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("there is a repository already; add compatibles to it with `payload role add`")]
    Begun,
    #[error(
        "draft/ has a repository that waits for signatures; see whose with `payload draft show`, or drop it \
         with `payload draft discard`"
    )]
    UnderWay,
    #[error(
        "--key and --threshold name {0}, which is no role of this repository; name it with --compatible"
    )]
    NoRole(Role),
    #[error("the timestamp's key is given with --timestamp-key")]
    Timestamp,
}

/// `ROLE=SOMETHING`.
fn of_role<T: FromStr>(text: &str) -> Result<(Role, T), String>
where
    T::Err: fmt::Display,
{
    let (role, value) = text.split_once('=').ok_or("give a role and a value, as in root=2")?;
    let role = role.parse().map_err(|error: crate::format::NameError| error.to_string())?;
    Ok((role, value.parse().map_err(|error: T::Err| error.to_string())?))
}

impl Init {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let folder = self.publisher.folder();
        if folder.is_begun() {
            return Err(Failure::usage(InitError::Begun));
        }
        if !folder.read_draft()?.is_empty() {
            return Err(Failure::usage(InitError::UnderWay));
        }
        let keyring = folder.keyring()?;
        let birth = self.birth(&keyring)?;
        let mut draft = Draft::begin(&birth, UnixTime::of_system_clock())?;
        let asked = self.consent.ask(&draft.statement(&keyring)?);
        let Some(()) = self.consent.unless_shown(asked, output)? else { return Ok(()) };
        draft.sign(&keyring)?;
        folder.keep(&draft)?;
        output.report(&InitReport {
            first_root: folder.first_root(),
            begun: folder.is_begun(),
            added: birth.compatibles.into_keys().collect(),
            signatures: draft.standings()?,
        })
    }

    fn birth(&self, keyring: &Keyring) -> Result<Birth, Failure> {
        let compatibles: Vec<_> = self.compatible.iter().map(Role::from).collect();
        let top = [Role::Root, Role::Targets, Role::Snapshot];
        let named = self.key.iter().map(|(role, _)| role);
        for role in named.chain(self.threshold.iter().map(|(role, _)| role)) {
            match role {
                Role::Timestamp => return Err(Failure::usage(InitError::Timestamp)),
                role if top.contains(role) || compatibles.contains(role) => {}
                role => return Err(Failure::usage(InitError::NoRole(role.clone()))),
            }
        }
        let seed = |role: Role| self.seed(&role, keyring);
        let delegated = self.compatible.iter().map(|name| Ok((name.clone(), seed(name.into())?)));
        Ok(Birth {
            root: seed(Role::Root)?,
            targets: seed(Role::Targets)?,
            snapshot: seed(Role::Snapshot)?,
            timestamp: public_key(&self.timestamp_key)?,
            compatibles: delegated.collect::<Result<BTreeMap<_, _>, Failure>>()?,
        })
    }

    fn seed(&self, role: &Role, keyring: &Keyring) -> Result<RoleSeed, Failure> {
        let given = self.key.iter().filter(|(of, _)| of == role).map(|(_, key)| public_key(key));
        let mut keys = given.collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            keys.push(keyring.public(role)?.clone());
        }
        let threshold = self.threshold.iter().find(|(of, _)| of == role);
        Ok(RoleSeed { keys, threshold: threshold.map_or(1, |(_, number)| *number) })
    }
}

impl fmt::Display for InitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first_root = self.first_root.display();
        if self.begun {
            let years = lifetime_days::ROOT / 365;
            writeln!(f, "first root of trust, good for {years} years: {first_root}")?;
            return self.added.iter().try_for_each(|name| writeln!(f, "role for {name}"));
        }
        for standing in self.signatures.iter().filter(|standing| !standing.is_complete()) {
            writeln!(f, "{standing}")?;
        }
        writeln!(
            f,
            "carry draft/ to who holds these keys for `payload sign`, and `payload draft merge` it; then \
             {first_root} is made"
        )
    }
}
