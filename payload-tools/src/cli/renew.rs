use std::fmt;

use clap::Args;
use serde::Serialize;

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
    /// Besides the snapshot: targets and every compatible's role, whose keys must all be there.
    #[arg(long)]
    all: bool,
    /// Besides the snapshot: root, with the same keys, of which root's must be there.
    #[arg(long)]
    root: bool,
}

#[derive(Debug, Serialize)]
struct RenewReport {
    expires: Vec<Expiry>,
}

#[derive(Debug, Serialize)]
struct Expiry {
    role: String,
    at: UnixTime,
}

impl Renew {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let folder = self.publisher.folder();
        let server = connect(&self.server)?;
        let more = [(self.root, Renewal::Root), (self.all, Renewal::Roles)];
        let more: Vec<_> =
            more.into_iter().filter_map(|(asked, what)| asked.then_some(what)).collect();
        let draft = block_on(async {
            let publisher = Publisher::begin(&folder, &server).await?;
            Ok(publisher.renew(&more, UnixTime::of_system_clock()).await?)
        })?;
        let expiry =
            |(role, at): (crate::trust::Role, UnixTime)| Expiry { role: role.to_string(), at };
        output.report(&RenewReport { expires: draft.expiries().into_iter().map(expiry).collect() })
    }
}

impl fmt::Display for RenewReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut expires = self.expires.iter();
        expires.try_for_each(|Expiry { role, at }| writeln!(f, "{role} expires at {at}"))
    }
}
