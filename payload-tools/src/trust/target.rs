//! A target of any repository: what its metadata says of the file.

use serde_json::Value;

use super::error::{Malformed, Misbehaviour};
use super::metadata::{Hashes, TargetFile};
use super::role::{Layout, percent_encoded};

/// A file that verified metadata names. Only a search makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    path: String,
    published: String,
    length: u64,
    hashes: Hashes,
    custom: Option<Value>,
}

impl Target {
    /// Refuses a target that nothing could be checked against.
    pub(super) fn new(path: &str, file: &TargetFile, layout: Layout) -> Result<Self, Misbehaviour> {
        let what = "it has neither SHA-256 nor SHA-512";
        let hash = file.hashes.any();
        let hash = hash.ok_or_else(|| Malformed::Target { path: path.to_owned(), what })?;
        let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
        let name = match layout {
            Layout::Consistent => format!("{hash}.{name}"),
            Layout::Plain => name.to_owned(),
        };
        let published = format!("{folder}{name}");
        let segments: Vec<_> = published.split('/').map(percent_encoded).collect();
        Ok(Self {
            path: path.to_owned(),
            published: segments.join("/"),
            length: file.length,
            hashes: file.hashes.clone(),
            custom: file.custom.clone(),
        })
    }

    /// Its path in the metadata.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where a server has it, below the base of its targets (5.7.3): with a hash before the file's
    /// name where snapshots are consistent, and what a URL cannot hold written as `%3F`.
    pub fn published_path(&self) -> &str {
        &self.published
    }

    /// Bytes of the file: no more need be read.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What else was signed about it.
    pub fn custom(&self) -> Option<&Value> {
        self.custom.as_ref()
    }

    /// Whether these are its bytes (5.7.3).
    pub fn check(&self, bytes: &[u8]) -> Result<(), Misbehaviour> {
        if bytes.len() as u64 == self.length && self.hashes.are_of(bytes) {
            Ok(())
        } else {
            Err(Misbehaviour::WrongHash)
        }
    }
}
