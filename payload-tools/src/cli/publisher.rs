//! What the verbs that work in a publisher's folder share.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::publish::Server;
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

/// The server and the right to publish there.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// The update server.
    #[arg(long, value_name = "URL")]
    server: String,
    /// An operator's token; other users of this machine can see it in the list of processes.
    #[arg(long, value_name = "TOKEN", required_unless_present = "token_file")]
    token: Option<String>,
    /// A file with the operator's token.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
}

impl ServerArgs {
    pub(super) fn connect(&self) -> Result<Server, Failure> {
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(path)) => fs_err::read_to_string(path)?.trim().to_owned(),
            (None, None) => String::new(),
        };
        Ok(Server::new(&self.server, &token)?)
    }
}

/// Runs the network's part of a verb.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
