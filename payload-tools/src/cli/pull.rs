use clap::Args;

use super::expiries::ExpiryReport;
use super::publisher::{PublisherArgs, block_on, connect};
use super::{Failure, Output};
use crate::admin::ServerArgs;
use crate::publish::pull_into;
use crate::trust::UnixTime;

const EXAMPLES: &str = "\
Examples:
  payload pull --publisher team --server https://updates.example.com --token-file token";

/// Bring a publisher's folder up to date with a server, without signing anything.
///
/// The folder needs no more than metadata/1.root.json, from which on everything is verified. The
/// other verbs that have a server do this by themselves; one that changes keys or roles goes by what
/// the folder knows.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Pull {
    #[command(flatten)]
    publisher: PublisherArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl Pull {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let server = connect(&self.server)?;
        let folder = self.publisher.repository()?;
        let state = block_on(async { Ok(pull_into(&folder, &server).await?) })?;
        output.report(&ExpiryReport::of(&state, "the server has", UnixTime::of_system_clock()))
    }
}
