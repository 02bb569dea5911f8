use std::io;

use payload_tools::admin::AdminError;
use payload_tools::error_chain::messages;

use super::Output;
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

/// Prints an error, its causes and the next move: for people on standard error, for programs as
/// one JSON object on standard output, as `payload` does.
pub fn report(error: &CliError, output: Output) {
    let (chain, hint) = match error {
        CliError::Admin(AdminError::Refused { info, .. }) => {
            (vec![format!("{} ({})", info.message, info.code)], Some(&info.hint))
        }
        other => (messages(other).collect(), None),
    };
    match output {
        Output::Programs => {
            let error = serde_json::json!({ "error": { "messages": chain, "hint": hint } });
            println!("{error}");
        }
        Output::People => {
            eprintln!("error: {}", chain.join("\n  because: "));
            if let Some(hint) = hint {
                eprintln!("hint: {hint}");
            }
        }
    }
}
