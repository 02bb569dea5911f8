//! The update server's API as its operators and publishers speak to it (docs/protocol.md): one
//! client, one set of arguments and one error, for `payload` and `update-server` alike.

mod args;
mod error;
mod upload;

use std::io;
use std::time::Duration;

use reqwest::header::CONTENT_LENGTH;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use args::ServerArgs;
pub use error::{AdminError, ErrorBody, ErrorInfo};
pub use upload::Upload;

/// Bytes of an answer that is read whole.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// How long the client waits.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For a connection.
    connect: Duration,
    /// For an answer and all of its body.
    answer: Duration,
    /// For the other side's system to take more of an upload, which may be slow.
    sign: Duration,
    /// For the answer to an upload, from when its last byte is the system's to send: that has yet
    /// to cross the network, and the server to write everything to its disk.
    end: Duration,
}

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(20),
    answer: Duration::from_secs(120),
    sign: Duration::from_secs(120),
    end: Duration::from_secs(600),
};

/// A server, and a token for it.
#[derive(Debug)]
pub struct AdminClient {
    base: String,
    token: String,
    client: Client,
    patience: Patience,
}

/// A request that is not sent yet.
#[derive(Debug)]
pub struct Call {
    url: String,
    request: RequestBuilder,
}

/// An answer, whatever it says.
#[derive(Debug)]
pub struct Answer {
    url: String,
    response: Response,
}

impl AdminClient {
    /// The server at that URL, asked with that token.
    pub fn new(base: &str, token: &str) -> Result<Self, AdminError> {
        Self::patient(base, token, PATIENCE)
    }

    fn patient(base: &str, token: &str, patience: Patience) -> Result<Self, AdminError> {
        let is_http = |url: reqwest::Url| matches!(url.scheme(), "http" | "https");
        if !base.parse().is_ok_and(is_http) {
            return Err(AdminError::Url { given: base.to_owned() });
        }
        // Another part of the program may have set one up already, which is as good.
        let _already_set = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(patience.connect)
            .tcp_user_timeout(patience.sign)
            .tcp_keepalive(patience.sign / 2)
            .build()
            .map_err(AdminError::Setup)?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { base, token: token.to_owned(), client, patience })
    }

    /// A request for what devices also may have, by its path below `/v1/`.
    pub fn public(&self, method: Method, path: &str) -> Call {
        let url = format!("{}/v1/{path}", self.base);
        let request = self.client.request(method, &url).timeout(self.patience.answer);
        Call { url, request }
    }

    /// A request with the token, by its path below `/v1/admin/`.
    pub fn admin(&self, method: Method, path: &str) -> Call {
        let Call { url, request } = self.public(method, &format!("admin/{path}"));
        Call { url, request: request.bearer_auth(&self.token) }
    }

    /// A PUT of a file of `length` bytes with the token, by its path below `/v1/admin/`. Chunks
    /// are taken when the connection can send them.
    pub fn upload(
        &self,
        path: &str,
        length: u64,
        chunks: impl Iterator<Item = io::Result<Vec<u8>>> + Send + 'static,
    ) -> Upload {
        let url = format!("{}/v1/admin/{path}", self.base);
        let request = self.client.put(&url).bearer_auth(&self.token);
        let request = request.header(CONTENT_LENGTH, length);
        Upload::new(url, request, length, chunks, self.patience)
    }
}

impl Call {
    /// Adds a body.
    pub fn json(self, body: &impl Serialize) -> Self {
        Self { request: self.request.json(body), ..self }
    }

    /// Sends it and takes any answer.
    pub async fn send(self) -> Result<Answer, AdminError> {
        let Self { url, request } = self;
        match request.send().await {
            Ok(response) => Ok(Answer { url, response }),
            Err(source) => Err(AdminError::Unreachable { url, source: source.without_url() }),
        }
    }

    /// Sends it and takes no answer but yes.
    pub async fn accepted(self) -> Result<Answer, AdminError> {
        self.send().await?.accepted().await
    }
}

impl Answer {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header, if it has it and it is text.
    pub fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Itself, if it says yes.
    pub async fn accepted(self) -> Result<Self, AdminError> {
        let status = self.status();
        if status.is_success() {
            return Ok(self);
        }
        let url = self.url.clone();
        let body = self.bytes(ANSWER_BYTES_MAX).await?;
        match serde_json::from_slice(&body) {
            Ok(ErrorBody { error }) => Err(AdminError::Refused { url, status, info: error }),
            Err(_) => Err(AdminError::Stranger { url, status }),
        }
    }

    /// Its body, of at most `max` bytes.
    pub async fn bytes(self, max: u64) -> Result<Vec<u8>, AdminError> {
        let Self { url, mut response } = self;
        let mut bytes = Vec::new();
        loop {
            let chunk = response.chunk().await.map_err(|source| AdminError::Unreachable {
                url: url.clone(),
                source: source.without_url(),
            })?;
            let Some(chunk) = chunk else { return Ok(bytes) };
            if (bytes.len() + chunk.len()) as u64 > max {
                return Err(AdminError::TooLarge { url, max });
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    /// Its body, which is JSON.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, AdminError> {
        let url = self.url.clone();
        let bytes = self.bytes(ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|source| AdminError::Answer { url, source })
    }
}

#[cfg(test)]
mod tests;
