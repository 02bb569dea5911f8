use clap::Args;

use super::consent::ConsentArgs;
use super::expiries::ExpiryReport;
use super::publisher::{PublisherArgs, block_on, connect};
use super::{Failure, Output};
use crate::admin::ServerArgs;
use crate::publish::{Publisher, Renewal};
use crate::trust::UnixTime;

const EXAMPLES: &str = "\
Examples:
  payload renew --server https://updates.example.com --token-file token
  payload renew --all --root --server https://updates.example.com --token-file token";

/// Sign again what would expire, and publish it.
///
/// The snapshot lasts 90 days, so run this at least every quarter; targets and roles last a year,
/// root lasts two. Devices refuse what has expired, until they are given its successor.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Renew {
    #[command(flatten)]
    publisher: PublisherArgs,
    #[command(flatten)]
    server: ServerArgs,
    /// Besides the snapshot: targets and every compatible's role. Where keys are elsewhere, the
    /// draft waits for their signatures.
    #[arg(long)]
    all: bool,
    /// Besides the snapshot: root, with the same keys.
    #[arg(long)]
    root: bool,
    #[command(flatten)]
    consent: ConsentArgs,
}

impl Renew {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let server = connect(&self.server)?;
        let folder = self.publisher.repository()?;
        let more = [(self.root, Renewal::Root), (self.all, Renewal::Roles)];
        let more: Vec<_> =
            more.into_iter().filter_map(|(asked, what)| asked.then_some(what)).collect();
        let renewed = block_on(async {
            let publisher = Publisher::begin(&folder, &server).await?;
            let ask = |statement: &_| self.consent.ask(statement);
            Ok(publisher.renew(&more, UnixTime::of_system_clock(), &ask).await)
        })?;
        let Some(state) = self.consent.unless_shown(renewed, output)? else { return Ok(()) };
        output.report(&ExpiryReport::of(&state, "published", UnixTime::of_system_clock()))
    }
}
