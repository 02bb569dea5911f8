use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::consent::ConsentArgs;
use super::expiries::ExpiryReport;
use super::publisher::{PublisherArgs, block_on, connect};
use super::verify::damaged;
use super::{Failure, Output, refuse_no_release};
use crate::admin::{AdminClient, ServerArgs};
use crate::bundle::Bundle;
use crate::format::{Channel, Compatible, Release};
use crate::publish::{Delivered, PayloadFile, PublishError, Publisher, Transfer};
use crate::repository::{PublisherFolder, Signing};
use crate::sign::{Permits, Wishes};
use crate::trust::UnixTime;

const EXAMPLES: &str = "\
Examples:
  payload publish release-2 --channel stable --server https://updates.example.com --token-file token
  payload publish release-2 --channel beta --publisher /srv/publisher \\
      --server https://updates.example.com --token-file token
  payload publish --server https://updates.example.com --token-file token       (the draft)";

/// Sign a release and publish it on a server, or publish the draft.
///
/// From then on devices of its compatible can install it, where a channel given here has it. Safe
/// to run again after any failure: what is uploaded or published already is left alone, and a file
/// that the server lost or damaged is uploaded again. Before anything is signed or uploaded, the
/// folder's payloads are checked as `payload verify` does.
///
/// What is going to be signed is shown first. A complete draft goes with a release; nothing is published
/// that has too few signatures: what lacks some stays in draft/, and whose they are is said.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Publish {
    /// A release folder, as `payload build` made it; without one the draft is published.
    release_dir: Option<PathBuf>,
    #[command(flatten)]
    publisher: PublisherArgs,
    #[command(flatten)]
    server: ServerArgs,
    /// A channel to sign it for, besides those that it is signed for already, and to promote it
    /// in, at once; may be given again.
    #[arg(long, value_name = "NAME", requires = "release_dir")]
    channel: Vec<Channel>,
    /// A floor that is not signed for a channel of the release: devices there may skip it. May be
    /// given again.
    #[arg(long, value_name = "RELEASE", requires = "release_dir")]
    past_floor: Vec<Release>,
    /// List releases again that were withdrawn.
    #[arg(long)]
    relist_withdrawn: bool,
    /// Let a channel go back to the release from a newer one. Devices that run a newer one stay, unless
    /// the release is signed with a range to go back from.
    #[arg(long, requires = "channel")]
    move_back: bool,
    #[command(flatten)]
    consent: ConsentArgs,
}

#[derive(Debug, Serialize)]
struct PublishReport {
    compatible: Compatible,
    release: Release,
    channels: Vec<Channel>,
    snapshot: u64,
    signed: bool,
    #[serde(flatten)]
    delivered: Delivered,
    pinned: BTreeMap<Channel, Release>,
}

impl Publish {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        if let Some(release) = &self.release_dir {
            refuse_no_release(release)?;
        }
        let server = connect(&self.server)?;
        let folder = self.publisher.repository()?;
        match &self.release_dir {
            Some(release) => self.release(&folder, release, &server, output),
            None => self.draft(&folder, &server, output),
        }
    }

    fn release(
        &self,
        folder: &PublisherFolder,
        path: &Path,
        server: &AdminClient,
        output: &Output,
    ) -> Result<(), Failure> {
        let release = Bundle::open(path)?;
        let manifest = release.manifest().map_err(Failure::refused)?;
        let bars = Bars { output, bar: RefCell::new(ProgressBar::hidden()) };
        let published = block_on(async {
            let publisher = Publisher::begin(folder, server).await?;
            let ask = |statement: &_| self.consent.ask(statement);
            let now = UnixTime::of_system_clock();
            Ok(publisher.release(&release, self.wishes(), now, &ask, &bars).await)
        })?;
        let published = published.map_err(|error| match error {
            PublishError::Damaged(error) => damaged(error),
            other => other.into(),
        });
        bars.ends();
        let Some(published) = self.consent.unless_shown(published, output)? else { return Ok(()) };
        output.report(&PublishReport {
            compatible: manifest.compatible,
            release: manifest.release,
            channels: self.channel.clone(),
            snapshot: published.snapshot_version,
            signed: published.signing == Signing::New,
            delivered: published.delivered,
            pinned: published.pinned.into_iter().collect(),
        })
    }

    fn wishes(&self) -> Wishes<'_> {
        let (channels, past_floors) = (&self.channel[..], &self.past_floor[..]);
        Wishes { channels, past_floors, permits: self.permits() }
    }

    fn permits(&self) -> Permits {
        Permits { relist_withdrawn: self.relist_withdrawn, move_back: self.move_back }
    }

    fn draft(
        &self,
        folder: &PublisherFolder,
        server: &AdminClient,
        output: &Output,
    ) -> Result<(), Failure> {
        let published = block_on(async {
            let publisher = Publisher::begin(folder, server).await?;
            let ask = |statement: &_| self.consent.ask(statement);
            Ok(publisher.draft(self.permits(), UnixTime::of_system_clock(), &ask).await)
        })?;
        let Some(state) = self.consent.unless_shown(published, output)? else { return Ok(()) };
        output.report(&ExpiryReport::of(&state, "published", UnixTime::of_system_clock()))
    }
}

/// A bar for the check, and for each upload.
struct Bars<'a> {
    output: &'a Output,
    bar: RefCell<ProgressBar>,
}

impl Transfer for Bars<'_> {
    fn checks(&self, bytes: u64) {
        *self.bar.borrow_mut() = self.output.bytes_bar("checking", bytes);
    }

    fn uploads(&self, bytes: u64) {
        *self.bar.borrow_mut() = self.output.bytes_bar("uploading", bytes);
    }

    fn meter(&self) -> Box<dyn Fn(u64) + Send + Sync> {
        let bar = self.bar.borrow().clone();
        Box::new(move |bytes| bar.inc(bytes))
    }

    fn ends(&self) {
        self.bar.borrow().finish_and_clear();
    }
}

impl fmt::Display for PublishReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compatible, release, channels, snapshot, signed, delivered, pinned } = self;
        let done = if *signed { "published" } else { "was published before:" };
        writeln!(f, "{done} release {release} for {compatible} (snapshot {snapshot})")?;
        let Delivered { uploaded, there_already } = delivered;
        let bytes: u64 = uploaded.iter().map(|file| file.bytes).sum();
        writeln!(f, "uploaded: {} ({bytes} bytes)", list(uploaded))?;
        writeln!(f, "on the server already: {}", list(there_already))?;
        channels.iter().try_for_each(|channel| writeln!(f, "channel {channel} is at {release}"))?;
        pinned.iter().try_for_each(|(channel, pin)| {
            writeln!(
                f,
                "channel {channel} is pinned and offers {pin}: `update-server channel unpin \
                 {compatible} {channel}` ends that"
            )
        })
    }
}

fn list(files: &[PayloadFile]) -> String {
    let files: Vec<_> = files.iter().map(|file| file.what.as_str()).collect();
    if files.is_empty() { "nothing".to_owned() } else { files.join(", ") }
}
