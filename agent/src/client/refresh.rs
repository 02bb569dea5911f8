use payload_tools::bundle::{Bundle, BundleError};
use payload_tools::trust::{
    self, Client, Files, Limits, Misbehaviour, Reply, Role, Step, TrustError, Trusted, UnixTime,
};
use tracing::warn;

use super::{Anchor, Http, HttpError, MetadataStore, StoreError};

/// Fresh metadata, verified at one moment.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// What it says.
    pub trusted: Trusted,
    /// The time that the check went by.
    pub at: UnixTime,
}

/// Why nothing fresh is known.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The server was not reached.
    #[error("cannot refresh the metadata")]
    Http(#[from] HttpError),
    /// It gave what no honest, up-to-date server gives.
    #[error("the metadata does not verify")]
    Trust(#[from] TrustError),
    /// What it gave is older than what is trusted and has not expired: no attack, but no news.
    #[error(
        "the server is behind: its timestamp is version {offered}, and {trusted} is known; \
         if it is a mirror, ask another or wait for it"
    )]
    Behind {
        /// The version that this device has.
        trusted: u64,
        /// The server's.
        offered: u64,
        /// When the newer one was signed at the latest.
        known_since: UnixTime,
    },
    /// STATE could not be read or written.
    #[error("cannot keep the metadata")]
    Store(#[from] StoreError),
    /// The bundle could not be read.
    #[error("cannot read the bundle's metadata")]
    Bundle(#[from] BundleError),
}

impl RefreshError {
    /// Since when what the device knows is old, if that is so at `now`: what is
    /// to be had has expired, or the newest that was seen has and nothing newer
    /// is to be had.
    pub fn stale_since(&self, store: &MetadataStore, now: UnixTime) -> Option<UnixTime> {
        if let Self::Trust(TrustError::Misbehaved { fault, .. }) = self
            && let Misbehaviour::Expired { expires, .. } = fault
        {
            return Some(*expires);
        }
        store.fresh_until().filter(|until| *until <= now)
    }
}

pub(super) async fn refresh(
    http: &Http,
    anchor: &Anchor,
    now: UnixTime,
) -> Result<Refreshed, RefreshError> {
    let Anchor { store, first_root, compatible } = anchor;
    let stored = store.load()?;
    let (mut client, refused) =
        Client::new(first_root, &stored, compatible, now, Limits::default())?;
    for error in refused {
        warn!("stored metadata is left out: {error}");
    }
    let walked = walk(&mut client, http).await;
    // Also when the check fails: a newer root or timestamp is not forgotten.
    keep(store, &client.files(), client.timestamp_rotated())?;
    walked.map_err(|error| behind(error, store))?;
    let trusted = client.finish()?;
    if let Some(fresh) = trusted.freshness() {
        // A thief of the server's key could sign for ever; the publisher did not.
        let until = fresh.timestamp_expires.min(trusted.expires());
        store.note_freshness(fresh.signed_at, until)?;
    }
    Ok(Refreshed { trusted, at: now })
}

/// An older timestamp than the trusted one, which is the newest signed word on the time as well.
pub(super) fn behind(error: RefreshError, store: &MetadataStore) -> RefreshError {
    match error {
        RefreshError::Trust(TrustError::Misbehaved {
            role: Role::Timestamp,
            fault: Misbehaviour::Rollback { of, trusted, offered },
            ..
        }) if of == "timestamp" => {
            let known_since = store.floor().time(UnixTime::from_secs(0));
            RefreshError::Behind { trusted, offered, known_since }
        }
        error => error,
    }
}

/// Keeps what is trusted by now. What an old timestamp key said of the time goes before the root comes
/// that takes it back: after a power cut between the two nothing would.
fn keep(store: &MetadataStore, files: &Files, timestamp_rotated: bool) -> Result<(), StoreError> {
    if timestamp_rotated {
        store.forget_freshness()?;
    }
    store.save(files)
}

async fn walk(client: &mut Client, http: &Http) -> Result<(), RefreshError> {
    while let Step::Fetch { path, max } = client.next() {
        let found = http.find(&format!("v1/metadata/{path}"), max).await?;
        client.feed(found.map_or(Reply::NotFound, Reply::Bytes))?;
    }
    Ok(())
}

/// Verifies the metadata of a bundle, which proves what may be installed and
/// not that it is the newest.
///
/// # Errors
/// As [`RefreshError`] says.
pub fn bundle_metadata(
    bundle: &Bundle,
    anchor: &Anchor,
    now: UnixTime,
) -> Result<Refreshed, RefreshError> {
    let Anchor { store, first_root, compatible } = anchor;
    let stored = store.load()?;
    let read = |name: &str, max| Ok::<_, RefreshError>(bundle.metadata_file(name, max)?);
    let trusted =
        trust::verify_bundle(first_root, &stored, read, compatible, now, Limits::default())?;
    keep(store, trusted.files_to_store(), trusted.timestamp_rotated())?;
    Ok(Refreshed { trusted, at: now })
}
