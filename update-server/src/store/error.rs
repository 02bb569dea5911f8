use std::path::PathBuf;
use std::sync::Arc;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file could not be opened or set up.
    #[error("cannot open the store {}; check its folder's owner and free space", path.display())]
    Open {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file was written by a newer update-server.
    #[error(
        "the store has schema {found} and this program knows up to {known}; run a newer update-server"
    )]
    Newer {
        /// Schema of the file.
        found: u32,
        /// Newest schema known here.
        known: u32,
    },
    /// A transaction was refused by the database.
    #[error("the store refused to {doing}")]
    Refused {
        /// The transaction.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The group of transactions could not be made durable: none of it holds.
    #[error("the store cannot commit; nothing was recorded")]
    Commit(#[source] Arc<rusqlite::Error>),
    /// A row does not hold what was written there.
    #[error("the store holds `{value}` as {column}, which this program never wrote")]
    Corrupt {
        /// Where.
        column: &'static str,
        /// What.
        value: String,
    },
    /// The writer thread ended; the process must be restarted.
    #[error("the store's writer has stopped; restart update-server and read its log")]
    Closed,
}
