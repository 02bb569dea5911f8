use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::publisher::PublisherArgs;
use super::{Failure, Output, refuse_no_release};
use crate::bundle::Bundle;
use crate::format::{Channel, Compatible, Release};
use crate::repository::Signing;
use crate::sign::sign_release;
use crate::trust::UnixTime;

const EXAMPLES: &str = "\
Examples:
  payload sign release-2 --channel stable
  payload bundle release-2 --out release-2.bundle          (next)";

/// Sign a release, for a bundle that is installed without a server.
///
/// Leaves the metadata in RELEASE_DIR/metadata, from where `payload bundle` takes it. Nothing is
/// uploaded, and the publisher's own metadata stays as it is; `payload publish` signs and uploads.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sign {
    /// A release folder, as `payload build` made it.
    release_dir: PathBuf,
    #[command(flatten)]
    publisher: PublisherArgs,
    /// A channel that may offer it, besides those in facts.json and those it is signed for
    /// already; may be given again.
    #[arg(long, value_name = "NAME")]
    channel: Vec<Channel>,
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
        refuse_no_release(&self.release_dir)?;
        let release = Bundle::open(&self.release_dir)?;
        let now = UnixTime::of_system_clock();
        let folder = self.publisher.folder();
        let (submission, signing) =
            sign_release(&folder, &release, &self.channel, now, |statement| {
                eprint!("{statement}");
            })?;
        output.report(&SignReport {
            compatible: submission.facts.compatible,
            release: submission.facts.release,
            new: signing == Signing::New,
            metadata: self.release_dir.join("metadata"),
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
