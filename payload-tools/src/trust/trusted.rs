//! What a check of the repository found for a device.

use super::metadata::Files;
use super::release::SignedRelease;
use super::time::UnixTime;
use crate::format::Compatible;

/// The server's signed word that this is the newest state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Version of the timestamp metadata.
    pub timestamp_version: u64,
    /// When the server signed it: raises the clock floor. Not every server says it.
    pub signed_at: Option<UnixTime>,
    /// Until when "up to date" may be said of it.
    pub timestamp_expires: UnixTime,
}

/// What a verification found. There is no other way to make one.
#[derive(Clone, Debug)]
pub struct Trusted {
    pub(super) compatible: Compatible,
    pub(super) releases: Vec<SignedRelease>,
    pub(super) freshness: Option<Freshness>,
    pub(super) expires: UnixTime,
    pub(super) files: Files,
    pub(super) timestamp_rotated: bool,
}

impl Trusted {
    /// Whose releases these are.
    pub fn compatible(&self) -> &Compatible {
        &self.compatible
    }

    /// The releases on offer and the floors, lowest counter first.
    pub fn releases(&self) -> &[SignedRelease] {
        &self.releases
    }

    /// The release of that name.
    pub fn release(&self, name: &str) -> Option<&SignedRelease> {
        self.releases.iter().find(|release| release.facts().release.as_str() == name)
    }

    /// Proof of freshness: none for an offline bundle.
    pub fn freshness(&self) -> Option<Freshness> {
        self.freshness
    }

    /// When the server signed the timestamp: raises the clock floor.
    pub fn timestamp_signed_at(&self) -> Option<UnixTime> {
        self.freshness.and_then(|fresh| fresh.signed_at)
    }

    /// When the timestamp expires, from which moment on the device is stale.
    pub fn timestamp_expires(&self) -> Option<UnixTime> {
        self.freshness.map(|fresh| fresh.timestamp_expires)
    }

    /// The earliest end of what people signed (root, snapshot, targets, the compatible's role).
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// As [`Client::timestamp_rotated`](super::Client::timestamp_rotated), also of a bundle's roots.
    pub fn timestamp_rotated(&self) -> bool {
        self.timestamp_rotated
    }

    /// The files to store in place of everything stored before. After a bundle: its roots, and of
    /// what was stored all that they leave trusted.
    pub fn files_to_store(&self) -> &Files {
        &self.files
    }
}
