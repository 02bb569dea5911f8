use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::bundle::Part;
use crate::format::{Channel, ReleaseFacts};
use crate::trust::Files;

/// Bytes of a payload that are read, sent and counted at once.
const CHUNK: u64 = 256 * 1024;
/// An answer that is not metadata is not read beyond this.
const ANSWER_MAX: u64 = 64 * 1024;

/// Hears how an upload gets on.
pub trait Transfer {
    /// A file of that many bytes begins.
    fn begins(&self, name: &str, bytes: u64);
    /// The server has it already.
    fn is_there(&self, name: &str);
    /// What is to be told how many more bytes were sent.
    fn meter(&self) -> Box<dyn Fn(u64) + Send + Sync>;
}

/// An update server as a publisher speaks to it (docs/protocol.md, Admin API).
#[derive(Debug)]
pub struct Server {
    base: String,
    token: String,
    client: Client,
}

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The TLS library does not start.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
    /// No answer.
    #[error("{url} does not answer; check the URL and that the server runs, then run this again")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// An answer that says no.
    #[error("the server refused {url} ({status}): {message}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The status.
        status: StatusCode,
        /// What the server said: message and hint.
        message: String,
    },
    /// More bytes than such a file can have.
    #[error("{url} is longer than {max} bytes; check that the URL is an update server's")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The most it may have.
        max: u64,
    },
}

impl ServerError {
    /// Whether the server has moved on since it was looked at.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::CONFLICT, .. })
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    message: String,
    #[serde(default)]
    hint: Option<String>,
}

impl Server {
    /// The server at that URL, asked with that token.
    pub fn new(url: &str, token: &str) -> Result<Self, ServerError> {
        // Another part of the program may have set one up already, which is as good.
        let _already_set = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(Duration::from_secs(120))
            .build()
            .map_err(ServerError::Setup)?;
        Ok(Self { base: url.trim_end_matches('/').to_owned(), token: token.to_owned(), client })
    }

    /// A metadata file; nothing if the server has none of that name.
    pub(super) async fn metadata(
        &self,
        name: &str,
        max: u64,
    ) -> Result<Option<Vec<u8>>, ServerError> {
        let url = format!("{}/v1/metadata/{name}", self.base);
        let response = send(self.client.get(&url), &url).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = accepted(response, &url).await?;
        read(response, &url, max).await.map(Some)
    }

    /// Uploads a payload file unless the server has one of that length under that name: the name
    /// is the hash of its content, and devices check it.
    pub(super) async fn upload(
        &self,
        name: &str,
        part: Part,
        transfer: &dyn Transfer,
    ) -> Result<(), ServerError> {
        let url = format!("{}/v1/{name}", self.base);
        let there = send(self.client.head(&url), &url).await?;
        let length = there.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if there.status().is_success() && length == Some(&part.len().to_string()) {
            transfer.is_there(name);
            return Ok(());
        }
        transfer.begins(name, part.len());
        let bytes = part.len();
        let body = reqwest::Body::wrap_stream(stream::iter(chunks(part, transfer.meter())));
        self.put(name, bytes, body).await
    }

    /// Uploads a small file.
    pub(super) async fn upload_bytes(&self, name: &str, bytes: Vec<u8>) -> Result<(), ServerError> {
        self.put(name, bytes.len() as u64, bytes.into()).await
    }

    async fn put(&self, name: &str, length: u64, body: reqwest::Body) -> Result<(), ServerError> {
        let url = format!("{}/v1/admin/{name}", self.base);
        let request = self.admin(Method::PUT, &url).header(CONTENT_LENGTH, length).body(body);
        accepted(send(request, &url).await?, &url).await.map(drop)
    }

    /// Publishes metadata, whole or not at all.
    pub(super) async fn publish(&self, files: &Files) -> Result<(), ServerError> {
        let encoded =
            |(name, bytes): (&String, &Vec<u8>)| (name.clone(), STANDARD.encode(bytes).into());
        let files: serde_json::Map<_, _> = files.iter().map(encoded).collect();
        let url = format!("{}/v1/admin/metadata", self.base);
        let request = self.admin(Method::POST, &url).json(&json!({ "files": files }));
        accepted(send(request, &url).await?, &url).await.map(drop)
    }

    /// Makes a release the one of a channel.
    pub(super) async fn promote(
        &self,
        facts: &ReleaseFacts,
        channel: &Channel,
    ) -> Result<(), ServerError> {
        let url = format!("{}/v1/admin/channels/{}/{channel}", self.base, facts.compatible);
        let request = self.admin(Method::PUT, &url).json(&json!({ "release": facts.release }));
        accepted(send(request, &url).await?, &url).await.map(drop)
    }

    fn admin(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url).bearer_auth(&self.token)
    }
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

async fn send(request: RequestBuilder, url: &str) -> Result<Response, ServerError> {
    let unreachable = |source| ServerError::Unreachable { url: url.to_owned(), source };
    request.send().await.map_err(|error| unreachable(error.without_url()))
}

async fn accepted(response: Response, url: &str) -> Result<Response, ServerError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = read(response, url, ANSWER_MAX).await?;
    let message = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(ErrorBody { error: ErrorFields { message, hint: Some(hint) } }) => {
            format!("{message}; {hint}")
        }
        Ok(ErrorBody { error: ErrorFields { message, hint: None } }) => message,
        Err(_) => "it gave no reason; check that the URL is an update server's".to_owned(),
    };
    Err(ServerError::Refused { url: url.to_owned(), status, message })
}

async fn read(mut response: Response, url: &str, max: u64) -> Result<Vec<u8>, ServerError> {
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| ServerError::Unreachable {
            url: url.to_owned(),
            source: error.without_url(),
        })?;
        let Some(chunk) = chunk else { return Ok(bytes) };
        if (bytes.len() + chunk.len()) as u64 > max {
            return Err(ServerError::TooLarge { url: url.to_owned(), max });
        }
        bytes.extend_from_slice(&chunk);
    }
}
