//! What the verbs that work in a publisher's folder share.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::admin::{AdminClient, AdminError, ServerArgs};
use crate::repository::PublisherFolder;

/// The publisher's folder.
#[derive(Debug, Args)]
pub(super) struct PublisherArgs {
    /// The publisher's folder, with keys/ and metadata/.
    #[arg(long, value_name = "DIR", default_value = ".")]
    publisher: PathBuf,
}

impl PublisherArgs {
    pub(super) fn folder(&self) -> PublisherFolder {
        PublisherFolder::at(&self.publisher)
    }
}

/// The client that the arguments ask for; without a token, or a server's URL, they are wrong.
pub(super) fn connect(server: &ServerArgs) -> Result<AdminClient, Failure> {
    server.connect().map_err(|error| match error {
        AdminError::NoToken | AdminError::Url { .. } => Failure::usage(error),
        other => other.into(),
    })
}

/// Runs the network's part of a verb.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
