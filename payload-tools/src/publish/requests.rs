//! What a publisher asks of an update server (docs/protocol.md).

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::admin::{AdminClient, AdminError};
use crate::bundle::Part;
use crate::format::{Channel, ReleaseFacts};
use crate::trust::Files;

/// Bytes of a payload that are read, sent and counted at once.
const CHUNK: u64 = 256 * 1024;

/// Hears how an upload gets on.
pub trait Transfer {
    /// A file of that many bytes begins.
    fn begins(&self, name: &str, bytes: u64);
    /// The server has it already.
    fn is_there(&self, name: &str);
    /// What is to be told how many more bytes were sent.
    fn meter(&self) -> Box<dyn Fn(u64) + Send + Sync>;
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

/// Uploads a payload file unless the server has one of that length under that name: the name is
/// the hash of its content, and devices check it.
pub(super) async fn upload(
    server: &AdminClient,
    name: &str,
    part: Part,
    transfer: &dyn Transfer,
) -> Result<(), AdminError> {
    let there = server.public(Method::HEAD, name).send().await?;
    let length = there.header(CONTENT_LENGTH);
    if there.status().is_success() && length == Some(&part.len().to_string()) {
        transfer.is_there(name);
        return Ok(());
    }
    transfer.begins(name, part.len());
    let bytes = part.len();
    server.upload(name, bytes, chunks(part, transfer.meter())).accepted().await.map(drop)
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
    let length = part.len();
    (0..length.div_ceil(CHUNK)).map(move |n| {
        let at = n * CHUNK;
        let bytes = part.slice(at, CHUNK.min(length - at))?;
        meter(bytes.len() as u64);
        Ok(bytes)
    })
}
