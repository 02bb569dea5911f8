use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

/// An error body: `{"error": {...}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Its only key.
    pub error: ErrorInfo,
}

/// What went wrong, for programs, for people, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorInfo {
    /// For programs; listed in docs/protocol.md.
    pub code: String,
    /// For people.
    pub message: String,
    /// The next move.
    pub hint: String,
}

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No token was given.
    #[error(
        "an admin token is needed; give --token-file FILE (or SEESAW_TOKEN_FILE, SEESAW_TOKEN)"
    )]
    NoToken,
    /// What was given for a server is no URL.
    #[error("`{given}` is no http:// or https:// URL; give one as in http://127.0.0.1:8080")]
    Url {
        /// What was given.
        given: String,
    },
    /// The token file.
    #[error("cannot read the token file {}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS library does not start.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
    /// No answer.
    #[error("no answer from {url}; check the URL, and that `update-server serve` runs there")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The other side stopped taking what it is sent.
    #[error(
        "{url} took nothing more for {sign:?}; check the network and the server, then run this again"
    )]
    Stalled {
        /// What was being sent.
        url: String,
        /// How long was waited.
        sign: Duration,
        /// What the system said.
        source: reqwest::Error,
    },
    /// The other side has everything and says nothing.
    #[error(
        "{url} was sent all of its {length} bytes and there was no answer within {within:?}; check the \
         server and its log, then run this again"
    )]
    Unanswered {
        /// What was sent.
        url: String,
        /// Its bytes.
        length: u64,
        /// How long was waited.
        within: Duration,
    },
    /// What was to be sent.
    #[error("cannot read what {url} is to be")]
    Unreadable {
        /// What was being sent.
        url: String,
        /// What the system said.
        source: io::Error,
    },
    /// An answer that says no.
    #[error("{} ({}); {}", info.message, info.code, info.hint)]
    Refused {
        /// What was asked for.
        url: String,
        /// The status.
        status: StatusCode,
        /// What the server said.
        info: ErrorInfo,
    },
    /// Something answered that is no update server.
    #[error("{url} answered {status}, and not as an update server does; check the URL")]
    Stranger {
        /// What was asked for.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// A body that is not what the protocol says.
    #[error("the answer of {url} is not of this protocol; check that both sides have one version")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// More bytes than such an answer can have.
    #[error("{url} is longer than {max} bytes; check that the URL is an update server's")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The most it may have.
        max: u64,
    },
}

impl AdminError {
    /// Whether the server has moved on since it was looked at.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::CONFLICT, .. })
    }
}
