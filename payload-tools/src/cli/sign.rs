use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::consent::ConsentArgs;
use super::draft::report_draft;
use super::publisher::{PublisherArgs, short_ids};
use super::{Failure, Output, refuse_no_release};
use crate::bundle::Bundle;
use crate::format::{Channel, Compatible, Release};
use crate::repository::{Draft, DraftError, Keyring, PublisherFolder, Signer as _, Signing};
use crate::sign::{Permits, Wishes, sign_release};
use crate::trust::{PublicKey, UnixTime};

const EXAMPLES: &str = "\
Examples:
  payload sign                                             (the draft)
  payload sign --publisher /media/stick --keys ~/keys      (where it was carried)
  payload sign release-2 --channel stable
  payload bundle release-2 --out release-2.bundle          (next)";

/// Sign the draft, or a release for a bundle that is installed without a server.
///
/// What is going to be signed is shown first. Of the draft, the keys at hand sign what needs their
/// signatures; `payload draft show` says whose lack then. Of a release, the metadata goes to
/// RELEASE_DIR/metadata, from where `payload bundle` takes it: nothing is uploaded, and the publisher's
/// own metadata stays as it is; `payload publish` signs and uploads. Where no key at hand signs anything
/// of it, that is a failure.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sign {
    /// A release folder, as `payload build` made it; without one the draft is signed.
    release_dir: Option<PathBuf>,
    #[command(flatten)]
    publisher: PublisherArgs,
    /// A channel that may offer the release, besides those in facts.json and those it is signed for
    /// already; may be given again.
    #[arg(long, value_name = "NAME", requires = "release_dir")]
    channel: Vec<Channel>,
    /// A floor that is not signed for a channel of the release: devices there may skip it. May be
    /// given again.
    #[arg(long, value_name = "RELEASE", requires = "release_dir")]
    past_floor: Vec<Release>,
    /// List the release again although it was withdrawn.
    #[arg(long, requires = "release_dir")]
    relist_withdrawn: bool,
    #[command(flatten)]
    consent: ConsentArgs,
}

#[derive(Debug, Serialize)]
struct SignReport {
    compatible: Compatible,
    release: Release,
    new: bool,
    metadata: PathBuf,
}

impl Sign {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        if let Some(release) = &self.release_dir {
            refuse_no_release(release)?;
        }
        let folder = self.publisher.repository()?;
        match &self.release_dir {
            Some(release) => self.release(&folder, release, output),
            None => self.draft(&folder, output),
        }
    }

    fn wishes(&self) -> Wishes<'_> {
        let permits = Permits { relist_withdrawn: self.relist_withdrawn, ..Permits::default() };
        Wishes { channels: &self.channel, past_floors: &self.past_floor, permits }
    }

    fn draft(&self, folder: &PublisherFolder, output: &Output) -> Result<(), Failure> {
        let (mut draft, keyring) = (folder.draft()?, folder.keyring()?);
        if draft.files().is_empty() {
            return Err(DraftError::NoDraft.into());
        }
        refuse_strangers(folder, &draft, &keyring)?;
        let mut statement = draft.statement(&keyring)?;
        for (compatible, words) in folder.relisted(&draft, &|_, _| None)? {
            statement.say_again(&compatible, &words);
        }
        let asked = self.consent.ask(&statement);
        let Some(()) = self.consent.unless_shown(asked, output)? else { return Ok(()) };
        draft.sign(&keyring)?;
        report_draft(folder, &draft, output)
    }

    fn release(
        &self,
        folder: &PublisherFolder,
        path: &Path,
        output: &Output,
    ) -> Result<(), Failure> {
        let release = Bundle::open(path)?;
        let (now, ask) = (UnixTime::of_system_clock(), |statement: &_| self.consent.ask(statement));
        let signed = sign_release(folder, &release, self.wishes(), now, &ask);
        let Some((submission, signing)) = self.consent.unless_shown(signed, output)? else {
            return Ok(());
        };
        output.report(&SignReport {
            compatible: submission.facts.compatible,
            release: submission.facts.release,
            new: signing == Signing::New,
            metadata: path.join("metadata"),
        })
    }
}

/// Why nothing of a draft is signed here.
#[derive(Debug, thiserror::Error)]
enum NoSigner {
    #[error("no key in {}: there is no such folder", .0.display())]
    NoFolder(PathBuf),
    #[error("no key in {}: no file there ends in .pem or .uri", .0.display())]
    NoKeys(PathBuf),
    #[error("the keys in {} ({keys}) sign nothing of this draft{taken_out}", folder.display())]
    Strangers { folder: PathBuf, keys: String, taken_out: String },
}

/// Refuses where none of the keys at hand may sign anything of a draft.
fn refuse_strangers(
    folder: &PublisherFolder,
    draft: &Draft,
    keyring: &Keyring,
) -> Result<(), Failure> {
    let (at_hand, wanted) = (keyring.public_keys(), draft.may_sign()?);
    if at_hand.iter().any(|key| wanted.contains(key.id())) {
        return Ok(());
    }
    let folder = folder.keys_folder().to_owned();
    let removals = at_hand.iter().filter_map(|key| Some((key, draft.removal(key.id(), None)?)));
    let removals = removals.map(|(key, removal)| format!("{:.16} {removal}", key.id()));
    let taken_out = removals.collect::<Vec<_>>().join(", ");
    let error = match at_hand.as_slice() {
        [] if !folder.exists() => NoSigner::NoFolder(folder),
        [] => NoSigner::NoKeys(folder),
        keys => NoSigner::Strangers {
            folder,
            keys: short_ids(keys.iter().map(PublicKey::id)),
            taken_out: if taken_out.is_empty() { taken_out } else { format!(": {taken_out}") },
        },
    };
    let hint = "these may sign it, name their folder with --keys: ".to_owned();
    Err(Failure::from(error).hint(hint + &short_ids(&wanted)))
}

impl fmt::Display for SignReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compatible, release, new, metadata } = self;
        let done = if *new { "signed" } else { "was signed before:" };
        writeln!(f, "{done} release {release} for {compatible}; metadata in {}", metadata.display())
    }
}
