use std::io;

use payload_tools::admin::AdminError;
use payload_tools::error_chain::lines;

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
    /// The running server, or the way to it.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Nothing to print.
    #[error("the answer cannot be printed as JSON")]
    Encode(#[source] serde_json::Error),
    /// No threads.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

/// Prints an error, its causes and the next move on standard error.
pub fn report(error: &CliError) {
    if let CliError::Admin(AdminError::Refused { info, .. }) = error {
        eprintln!("error: {} ({})\nhint: {}", info.message, info.code, info.hint);
    } else {
        eprintln!("error: {}", lines(error));
    }
}
