//! What a publisher asks of an update server (docs/protocol.md).

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{CONTENT_LENGTH, ETAG};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::PublishError;
use crate::admin::{AdminClient, AdminError, Answer};
use crate::bundle::{BundleError, Part};
use crate::format::{Channel, Compatible, Hash, Release, ReleaseFacts};
use crate::sign::SubmissionError;
use crate::trust::Files;

/// Bytes of a payload that are read, sent and counted at once.
const CHUNK: u64 = 256 * 1024;

/// Hears how the work on payloads gets on.
pub trait Transfer {
    /// Images of that many bytes are checked before anything is signed.
    fn checks(&self, bytes: u64);
    /// A file of that many bytes is uploaded.
    fn uploads(&self, bytes: u64);
    /// What is to be told how many more bytes are done.
    fn meter(&self) -> Box<dyn Fn(u64) + Send + Sync>;
    /// What began last is done.
    fn ends(&self);
}

/// What became of a file that the server should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It was sent.
    Uploaded,
    /// It was there.
    WasThere,
}

/// A metadata file; nothing if the server has none of that name.
pub(super) async fn metadata(
    server: &AdminClient,
    name: &str,
    max: u64,
) -> Result<Option<Vec<u8>>, AdminError> {
    let answer = server.public(Method::GET, &format!("metadata/{name}")).send().await?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    answer.accepted().await?.bytes(max).await.map(Some)
}

/// Uploads a payload file unless the server has these very bytes under that name.
pub(super) async fn upload(
    server: &AdminClient,
    name: &str,
    part: Part,
    transfer: &dyn Transfer,
) -> Result<Delivery, PublishError> {
    let there = server.public(Method::HEAD, name).send().await?;
    let has = has_it(&there, &part).map_err(BundleError::from).map_err(SubmissionError::from)?;
    if has {
        return Ok(Delivery::WasThere);
    }
    let bytes = part.len();
    transfer.uploads(bytes);
    let sent = server.upload(name, bytes, chunks(part, transfer.meter())).accepted().await;
    transfer.ends();
    Ok(sent.map(|_answer| Delivery::Uploaded)?)
}

/// A payload is named by its image's tree, which says nothing of its own bytes; the server's entity
/// tag does, as long as nobody touched what was uploaded.
fn has_it(there: &Answer, part: &Part) -> io::Result<bool> {
    let length = there.header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let tag = there.header(ETAG).and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
    match tag.and_then(|tag| tag.parse::<Hash>().ok()) {
        Some(sha256) if there.status().is_success() && length == Some(part.len()) => {
            Ok(sha256_of(part)? == sha256)
        }
        _ => Ok(false),
    }
}

fn sha256_of(part: &Part) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    for (at, length) in pieces(part.len()) {
        hasher.update(part.slice(at, length)?);
    }
    Ok(Hash::from_bytes(hasher.finalize().into()))
}

/// Uploads a small file.
pub(super) async fn upload_bytes(
    server: &AdminClient,
    name: &str,
    bytes: Vec<u8>,
) -> Result<(), AdminError> {
    let length = bytes.len() as u64;
    server.upload(name, length, std::iter::once(Ok(bytes))).accepted().await.map(drop)
}

/// Publishes metadata, whole or not at all.
pub(super) async fn publish(server: &AdminClient, files: &Files) -> Result<(), AdminError> {
    let encoded =
        |(name, bytes): (&String, &Vec<u8>)| (name.clone(), STANDARD.encode(bytes).into());
    let files: serde_json::Map<_, _> = files.iter().map(encoded).collect();
    let call = server.admin(Method::POST, "metadata").json(&json!({ "files": files }));
    call.accepted().await.map(drop)
}

/// A channel, as far as it matters to a publisher.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ChannelAt {
    pub compatible: Compatible,
    pub channel: Channel,
    pub release: Release,
    pub pin: Option<Release>,
}

/// Every channel that the server has.
pub(super) async fn channels(server: &AdminClient) -> Result<Vec<ChannelAt>, AdminError> {
    server.admin(Method::GET, "channels").accepted().await?.json().await
}

/// A release that was ever published, as far as it matters to a publisher.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ReleaseAt {
    pub compatible: Compatible,
    pub release: Release,
    pub counter: u64,
    pub withdrawn_at: Option<Timestamp>,
}

impl ReleaseAt {
    /// Whether it is that release.
    pub(super) fn is(&self, compatible: &Compatible, release: &Release) -> bool {
        self.compatible == *compatible && self.release == *release
    }
}

/// Every release that the server ever had.
pub(super) async fn releases(server: &AdminClient) -> Result<Vec<ReleaseAt>, AdminError> {
    server.admin(Method::GET, "releases").accepted().await?.json().await
}

/// Makes a release the one of a channel.
pub(super) async fn promote(
    server: &AdminClient,
    facts: &ReleaseFacts,
    channel: &Channel,
) -> Result<(), AdminError> {
    let path = format!("channels/{}/{channel}", facts.compatible);
    let call = server.admin(Method::PUT, &path).json(&json!({ "release": facts.release }));
    call.accepted().await.map(drop)
}

/// The file in pieces, each read when the connection can take it.
fn chunks(
    part: Part,
    meter: Box<dyn Fn(u64) + Send + Sync>,
) -> impl Iterator<Item = io::Result<Vec<u8>>> + Send {
    pieces(part.len()).map(move |(at, length)| {
        let bytes = part.slice(at, length)?;
        meter(length);
        Ok(bytes)
    })
}

/// Offset and length of each piece of a file.
fn pieces(bytes: u64) -> impl Iterator<Item = (u64, u64)> + Send {
    (0..bytes.div_ceil(CHUNK)).map(move |n| (n * CHUNK, CHUNK.min(bytes - n * CHUNK)))
}
