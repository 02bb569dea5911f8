use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;

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
    /// The file is there and holds nothing.
    #[error("the store {} is empty; restore the data folder from a backup", path.display())]
    Empty {
        /// The database file.
        path: PathBuf,
    },
    /// The file is not what was written there.
    #[error(
        "the store is damaged: it was not possible to {doing}; restore the data folder from a backup"
    )]
    Damaged {
        /// What found it.
        doing: &'static str,
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

impl StoreError {
    /// What a transaction ended with.
    pub(super) fn of(doing: &'static str, source: rusqlite::Error) -> Self {
        if is_damage(&source) {
            Self::Damaged { doing, source }
        } else {
            Self::Refused { doing, source }
        }
    }

    /// What opening the file ended with.
    pub(super) fn of_opening(path: &Path, source: rusqlite::Error) -> Self {
        if is_damage(&source) {
            Self::Damaged { doing: "open it", source }
        } else {
            Self::Open { path: path.to_owned(), source }
        }
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
