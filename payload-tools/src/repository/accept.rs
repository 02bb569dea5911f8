use std::collections::BTreeMap;

use super::published::{Published, TimestampKey};
use crate::format::Compatible;
use crate::trust::metadata::Files;
use crate::trust::trusted_set::no_file_went_back;
use crate::trust::{Limits, PublicKey, SignedRelease, TrustError, UnixTime};

/// An upload that a server may publish. Only [`accept`] makes one.
#[derive(Clone, Debug)]
pub struct AcceptedUpload {
    published: Published,
    new_files: Files,
}

impl AcceptedUpload {
    /// The state of the repository from now on.
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// The files that were not there before, by their published names.
    pub fn new_files(&self) -> &Files {
        &self.new_files
    }

    /// Everything on offer, by compatible.
    pub fn releases(&self) -> Result<BTreeMap<Compatible, Vec<SignedRelease>>, TrustError> {
        let names = self.published.compatibles();
        names.map(|name| Ok((name.clone(), self.published.releases(name)?))).collect()
    }
}

/// Why an upload is not published.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Not the next state: somebody published in between, or the publisher's folder is old.
    #[error(
        "the upload has no {expected}.snapshot.json, which comes next here: someone published in \
         between; run `payload publish` again"
    )]
    Conflict {
        /// Version that the next snapshot must have.
        expected: u64,
    },
    /// The newest root names another timestamp key than this server's.
    #[error(
        "root does not let this server's key {keys} alone sign the timestamp; run `payload init` with \
         the key that `update-server init` printed, or `payload key rotate timestamp`"
    )]
    TimestampKey {
        /// The server's public keys.
        keys: String,
    },
    /// A file is too large, or has a name that no metadata has.
    #[error("{name:?} ({length} bytes) is no metadata file, or too large for one; leave it out")]
    File {
        /// Its name.
        name: String,
        /// Its size in bytes.
        length: usize,
    },
    /// Every snapshot version is used.
    #[error("no snapshot version is left after {last}; begin a new repository")]
    Exhausted {
        /// The last one.
        last: u64,
    },
    /// Something in it does not verify.
    #[error("the upload does not verify; nothing was published")]
    Trust(#[from] TrustError),
}

/// Verifies an upload against what is published, which is nothing for the first: then the
/// upload's own `1.root.json` is taken for the first root of trust, on the word of whoever may
/// upload, if it names one of this server's keys.
///
/// The upload must bring snapshot number trusted + 1. Whatever that names and the server has not
/// got must be in the upload; nothing may be older than published, or expired.
pub fn accept(
    trusted: Option<&Published>,
    upload: &Files,
    timestamp_keys: &[PublicKey],
    now: UnixTime,
) -> Result<AcceptedUpload, UploadError> {
    check_sizes(upload)?;
    let last = trusted.map_or(0, Published::snapshot_version);
    let expected = last.checked_add(1).ok_or(UploadError::Exhausted { last })?;
    if !upload.contains_key(&format!("{expected}.snapshot.json")) {
        return Err(UploadError::Conflict { expected });
    }
    // What is published wins over a file of the same name: a version never changes.
    let before = trusted.map(Published::files).unwrap_or_default();
    let mut all = upload.clone();
    all.extend(before.clone());
    let published = Published::load(&all, expected)?;
    if let Some(trusted) = trusted {
        no_file_went_back(&trusted.snapshot.metadata, &published.snapshot.metadata)?;
    }
    published.unexpired(now)?;
    let named = |key: &PublicKey| published.timestamp_key(key) == TimestampKey::Named;
    if !timestamp_keys.iter().any(named) {
        let keys: Vec<_> = timestamp_keys.iter().map(PublicKey::to_string).collect();
        return Err(UploadError::TimestampKey { keys: keys.join(", ") });
    }
    let mut new_files = published.files();
    new_files.retain(|name, _| !before.contains_key(name));
    Ok(AcceptedUpload { published, new_files })
}

fn check_sizes(upload: &Files) -> Result<(), UploadError> {
    let limits = Limits::default();
    for (name, bytes) in upload {
        let role = name.strip_suffix(".json").and_then(|stem| stem.split_once('.'));
        let max = match role {
            Some((_, "root")) => limits.root,
            Some((_, "snapshot")) => limits.snapshot,
            Some((_, "targets")) => limits.targets,
            Some((_, role)) if role.parse::<Compatible>().is_ok() => limits.delegated,
            _ => 0,
        };
        if bytes.len() as u64 > max {
            return Err(UploadError::File { name: name.clone(), length: bytes.len() });
        }
    }
    Ok(())
}
