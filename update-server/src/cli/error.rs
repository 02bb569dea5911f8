use std::io;
use std::path::PathBuf;

use payload_tools::error_chain::lines;

use crate::api::ErrorInfo;
use crate::data_folder::DataFolderError;
use crate::names::TokenName;
use crate::serve::ServeError;
use crate::store::StoreError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataFolderError),
    /// Serving.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing to revoke.
    #[error("there is no token {0}; `update-server token list` shows them")]
    NoSuchToken(TokenName),
    /// The server said no.
    #[error("{} ({})", .0.message, .0.code)]
    Refused(ErrorInfo),
    /// The server did not answer as one.
    #[error(
        "no answer from {server}; check the address, and that `update-server serve` runs there"
    )]
    Unreachable {
        /// Its URL.
        server: String,
        /// What failed.
        source: reqwest::Error,
    },
    /// Something answered that is no update server.
    #[error("{server} answered {status}, and not as an update server does; check the address")]
    Stranger {
        /// Its URL.
        server: String,
        /// The HTTP status.
        status: u16,
    },
    /// No token was given.
    #[error(
        "an admin token is needed; give --token-file FILE (or SEESAW_TOKEN_FILE, SEESAW_TOKEN)"
    )]
    NoToken,
    /// The token file.
    #[error("cannot read the token file {}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing to print.
    #[error("the answer cannot be printed as JSON")]
    Encode(#[source] serde_json::Error),
    /// No threads.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

/// Prints an error, its causes and the next move on standard error.
pub fn report(error: &CliError) {
    eprintln!("error: {}", lines(error));
    if let CliError::Refused(info) = error {
        eprintln!("hint: {}", info.hint);
    }
}
