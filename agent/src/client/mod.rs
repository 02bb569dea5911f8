//! What the device says to its update server and how it believes the answers:
//! the signed metadata proves what may be installed and that it is fresh, the
//! check asks when, the events tell what came of it.

mod check;
mod events;
mod http;
mod refresh;
mod store;
mod tls;

pub use check::{Action, CheckAnswer, CheckRequest, ServerReason};
pub use events::{EVENTS_MAX, EventQueue};
pub use http::{Http, HttpError};
pub use refresh::{RefreshError, Refreshed, bundle_metadata};
pub use store::{MetadataStore, StoreError};
pub use tls::Tls;

use std::sync::{Arc, Mutex};

use payload_tools::format::{Compatible, Manifest};
use payload_tools::trust::{SignedRelease, TargetError, UnixTime};

use crate::identity::DeviceId;
use crate::poison::lock;

/// The update server, as this device sees it.
pub struct UpdateServer {
    http: Http,
    anchor: Arc<Anchor>,
    device: DeviceId,
}

/// What this device believes without asking anyone.
#[derive(Debug)]
pub struct Anchor {
    /// Trusted metadata on STATE.
    pub store: MetadataStore,
    /// The first root of trust, from the image.
    pub first_root: Vec<u8>,
    /// The devices that this one is one of.
    pub compatible: Compatible,
}

/// Why a device can believe nobody.
#[derive(Debug, thiserror::Error)]
pub enum NoAnchor {
    /// Nowhere to keep what was verified.
    #[error("there is no STATE to keep verified metadata on: give --state DIR")]
    State,
    /// The booted image is silent.
    #[error(
        "the booted image does not say which devices it is for (SEESAW_COMPATIBLE in its .osrel)"
    )]
    Compatible,
    /// Nothing to begin with.
    #[error("there is no first root of trust to verify by: give --first-root FILE")]
    FirstRoot(#[source] std::io::Error),
}

impl Anchor {
    /// The time that a check goes by: never before the newest signed fact.
    pub fn now(&self) -> UnixTime {
        self.store.floor().time(UnixTime::of_system_clock())
    }

    /// The same without what any server said of the time.
    fn now_by_own_clock(&self) -> UnixTime {
        self.store.image_built().time(UnixTime::of_system_clock())
    }
}

/// A question to the server that was not answered, or not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It was not reached, or answered with an error.
    #[error("cannot ask the update server")]
    Http(#[from] HttpError),
    /// Its answer is not of the protocol.
    #[error(
        "the update server's answer to {what} is not of this protocol: check that the URL is an update server's"
    )]
    Protocol {
        /// The request.
        what: &'static str,
        /// What was met.
        source: serde_json::Error,
    },
    /// The manifest is not the signed one.
    #[error("the manifest is refused")]
    Target(#[from] TargetError),
}

impl UpdateServer {
    /// A server that is spoken to through `http`.
    pub fn new(http: Http, anchor: Arc<Anchor>, device: DeviceId) -> Self {
        Self { http, anchor, device }
    }

    /// Refreshes the trusted metadata at the time `now`.
    ///
    /// # Errors
    /// Nothing fresh is known; what was trusted before still is.
    pub async fn refresh(&self, now: UnixTime) -> Result<Refreshed, RefreshError> {
        refresh::refresh(&self.http, &self.anchor, now).await
    }

    /// Asks what this device is to do.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn check(&self, request: &CheckRequest) -> Result<CheckAnswer, AskError> {
        let body = check::body(&self.device, &self.anchor.compatible, request);
        let answer = self.http.post("v1/check", &body).await?;
        serde_json::from_slice(&answer)
            .map_err(|source| AskError::Protocol { what: "a check", source })
    }

    /// Fetches the manifest that verified metadata names.
    ///
    /// # Errors
    /// It cannot be had, or is another one.
    pub async fn manifest(&self, release: &SignedRelease) -> Result<Manifest, AskError> {
        let path = format!("v1/targets/{}", release.consistent_path());
        let bytes = self.http.get(&path, release.length()).await?;
        Ok(release.open(&bytes)?)
    }

    /// Sends what is queued; what is acknowledged leaves the queue, and so do
    /// reports that the server calls bad, and one that is too large for it by
    /// itself: no repetition would make them better, and others wait behind them.
    ///
    /// # Errors
    /// It stays queued.
    pub async fn send(&self, queue: &Mutex<EventQueue>) -> Result<(), SendError> {
        let mut most = events::BATCH_MAX;
        loop {
            let batch = lock(queue).batch(most);
            if batch.is_empty() {
                return Ok(());
            }
            let body = events::body(&self.device, &self.anchor.compatible, &batch);
            match self.http.post("v1/events", &body).await {
                Err(error) if error.asked_too_much() && batch.len() > 1 => {
                    most = batch.len() / 2;
                    continue;
                }
                Err(error) if error.asked_too_much() || error.asked_badly() => {
                    let error = crate::chain(&error);
                    tracing::warn!("reports are lost, {} of them: {error}", batch.len());
                }
                answer => drop(answer?),
            }
            lock(queue).acknowledged(&batch)?;
        }
    }

    /// How it is spoken to.
    pub fn http(&self) -> &Http {
        &self.http
    }
}

/// Events that stay queued.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The server did not acknowledge them.
    #[error("cannot report to the update server; reports wait on STATE")]
    Http(#[from] HttpError),
    /// The queue could not be shortened; the server knows an event by its id.
    #[error("cannot write the queue of reports")]
    Queue(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;
