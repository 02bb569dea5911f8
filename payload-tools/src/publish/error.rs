use super::pull::PullError;
use crate::admin::AdminError;
use crate::repository::{DraftError, FolderError};
use crate::sign::{NotAskedFor, SignError, Stop, SubmissionError};
use crate::verify::DamagedRelease;

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody else was faster, or nobody: the snapshot is not the next one any more.
    #[error("someone published in between; run this again, it goes on from there")]
    Conflict,
    /// The server, or the way to it.
    #[error(transparent)]
    Server(#[from] AdminError),
    /// What the server has published does not verify.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The release folder.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// What devices would get.
    #[error(transparent)]
    Damaged(#[from] DamagedRelease),
    /// It takes something back.
    #[error(transparent)]
    NotAskedFor(#[from] NotAskedFor),
    /// The publisher's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The signatures.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The versions.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There is nothing to take over.
    #[error("the server has published nothing yet; `payload publish` is what begins it")]
    NothingPublished,
    /// It was not wanted.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// The file system refused.
    #[error("the signed metadata could not be written")]
    Io(#[from] std::io::Error),
}
