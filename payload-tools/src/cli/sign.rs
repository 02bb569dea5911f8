use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::consent::ConsentArgs;
use super::draft::report_draft;
use super::publisher::PublisherArgs;
use super::{Failure, Output, refuse_no_release};
use crate::bundle::Bundle;
use crate::format::{Channel, Compatible, Release};
use crate::repository::{DraftError, PublisherFolder, Signing};
use crate::sign::{Wishes, sign_release};
use crate::trust::UnixTime;

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
/// own metadata stays as it is; `payload publish` signs and uploads.
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
        let folder = self.publisher.folder();
        match &self.release_dir {
            Some(release) => self.release(&folder, release, output),
            None => self.draft(&folder, output),
        }
    }

    fn wishes(&self) -> Wishes<'_> {
        Wishes { channels: &self.channel, past_floors: &self.past_floor }
    }

    fn draft(&self, folder: &PublisherFolder, output: &Output) -> Result<(), Failure> {
        let (mut draft, keyring) = (folder.draft()?, folder.keyring()?);
        if draft.files().is_empty() {
            return Err(DraftError::NoDraft.into());
        }
        let asked = self.consent.ask(&draft.statement(&keyring)?);
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
        refuse_no_release(path)?;
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

impl fmt::Display for SignReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compatible, release, new, metadata } = self;
        let done = if *new { "signed" } else { "was signed before:" };
        writeln!(f, "{done} release {release} for {compatible}; metadata in {}", metadata.display())
    }
}
