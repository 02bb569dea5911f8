//! Where the bytes of a payload come from. A source is never believed: it is
//! bounded by what the manifest says and checked by the tree.

mod allowance;
mod bundle;
mod http;
mod stop;

use std::ops::Range;

use payload_tools::format::{Hash, Image};

pub use allowance::{Allowance, OverBudget};
pub use bundle::BundleSource;
pub use http::{HttpSource, Patience};
pub use stop::StopWord;

/// A place that has payloads. Shared by the threads of a stage.
pub trait PayloadSource: Sync {
    /// The levels of `image`'s tree, exactly `len` bytes.
    fn levels(&self, image: &Image, len: u64) -> Result<Vec<u8>, SourceError>;

    /// The last `len` bytes of `image`'s full payload, and how long it is.
    fn tail(&self, image: &Image, len: u64) -> Result<End, SourceError>;

    /// A reader over `range` of `image`'s full payload.
    fn open(
        &self,
        image: &Image,
        range: Range<u64>,
    ) -> Result<Box<dyn PayloadReader + '_>, SourceError>;

    /// The first `len` bytes of the delta that makes `image` of the one with the
    /// root `from`, and how long it is.
    fn delta_head(&self, image: &Image, from: &Hash, len: u64) -> Result<End, SourceError>;

    /// A reader over `range` of that delta.
    fn open_delta(
        &self,
        image: &Image,
        from: &Hash,
        range: Range<u64>,
    ) -> Result<Box<dyn PayloadReader + '_>, SourceError>;
}

/// One end of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The last bytes, or the first.
    pub bytes: Vec<u8>,
    /// Length of the whole payload, in bytes.
    pub total: u64,
}

/// Reads a range of a payload in order.
pub trait PayloadReader: Send {
    /// Fills `buf` completely with the next bytes of the range.
    fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), SourceError>;
}

/// Why a source did not give what was asked of it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum SourceError {
    /// The server cannot be reached, or the connection broke more often than
    /// [`Patience`] allows.
    #[error("{url} cannot be read after {attempts} attempts; check the network and the server")]
    Unreachable {
        url: String,
        attempts: u32,
        #[source]
        source: reqwest::Error,
    },
    /// The connection stays open and nothing comes, or next to nothing.
    #[error(
        "{url} sends next to nothing, after {attempts} attempts; check the network and the server"
    )]
    Stalled { url: String, attempts: u32 },
    /// The server has no such payload.
    #[error("{url} does not exist; the release's payload was not uploaded or was removed")]
    NotFound { url: String },
    /// The server answered with a status that is no way to answer a range request.
    #[error("{url} answers {status}; see the server's log")]
    Status { url: String, status: u16 },
    /// A whole document came instead of the range asked for.
    #[error(
        "{url} ignores range requests (200 instead of 206); serve payloads by a server that knows them"
    )]
    WholeInsteadOfRange { url: String },
    /// A web page came instead of a payload.
    #[error("{url} answers with a web page; a captive portal or a proxy is in the way")]
    WebPage { url: String },
    /// The server sent another part of the payload.
    #[error("{url} was asked for bytes {asked} and says that it sends {got}")]
    WrongRange { url: String, asked: String, got: String },
    /// The document is not as long as the manifest or the answer says.
    #[error("{url} has {got} bytes where {expected} were expected")]
    WrongLength { url: String, expected: u64, got: u64 },
    /// The configuration allows no more for now.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// Whoever wanted the bytes wants them no more.
    #[error("{url} is not waited for any more: it was cancelled")]
    Stopped { url: String },
    /// A file of a bundle or folder cannot be read.
    #[error("cannot read {what} of the bundle")]
    Bundle {
        what: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The local runtime that drives the connections cannot be made.
    #[error("cannot prepare the HTTP client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}
