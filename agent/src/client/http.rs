use std::error::Error as _;
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url};
use serde_json::Value;

use super::Tls;
use super::tls::refusal;
use crate::config::ServerUrl;

const REDIRECTS_MAX: usize = 5;
/// Largest answer to a question of the protocol, in bytes.
const ANSWER_MAX: u64 = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests below one base URL, with bounds on time and size.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    base: ServerUrl,
    tls: Tls,
}

/// A request without a usable answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or it broke.
    #[error("cannot reach {url}")]
    Unreachable {
        /// The URL.
        url: String,
        /// What was met.
        source: reqwest::Error,
    },
    /// Who answers did not prove to be the server.
    #[error("the certificate of {host} is refused: {why}")]
    Refused {
        /// The beginning of the URL.
        host: String,
        /// In words.
        why: String,
    },
    /// An answer with an error status.
    #[error("{url} answers {status}{detail}")]
    Status {
        /// The URL.
        url: String,
        /// The status.
        status: StatusCode,
        /// The body's error message, where it has one.
        detail: String,
    },
    /// A web page, which nothing of the protocol is.
    #[error("{url} answers with a web page; a captive portal or a proxy is in the way")]
    WebPage {
        /// The URL.
        url: String,
    },
    /// More bytes than the answer may have.
    #[error("{url} answers with more than {max} bytes")]
    TooLong {
        /// The URL.
        url: String,
        /// The bound.
        max: u64,
    },
    /// The client itself could not be set up.
    #[error("cannot set up HTTP")]
    Setup(#[source] reqwest::Error),
    /// TLS could not be.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// A client for `base`: few redirects, none from https to http, and nothing but https where `base`
/// says https.
fn client_builder(base: &ServerUrl, tls: &Tls) -> Result<ClientBuilder, HttpError> {
    let builder = tls.client().map_err(HttpError::Tls)?;
    Ok(builder
        .https_only(base.secure())
        .redirect(Policy::custom(follow))
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("seesaw-agent/", env!("CARGO_PKG_VERSION"))))
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    match no_way(attempt.previous(), attempt.url()) {
        Some(why) => attempt.error(why),
        None => attempt.follow(),
    }
}

/// Why a redirect to `next` is not followed, after all the URLs that led there.
fn no_way(previous: &[Url], next: &Url) -> Option<&'static str> {
    let secure = |url: &Url| url.scheme() == "https";
    if !secure(next) && previous.iter().any(secure) {
        Some("the server redirects from https to http")
    } else if previous.len() > REDIRECTS_MAX {
        Some("too many redirects")
    } else {
        None
    }
}

impl Http {
    /// Requests below `base`, each within `timeout`.
    ///
    /// # Errors
    /// TLS could not be set up.
    pub fn new(base: &ServerUrl, timeout: Duration, tls: Tls) -> Result<Self, HttpError> {
        let client = client_builder(base, &tls)?.timeout(timeout);
        Ok(Self { client: client.build().map_err(HttpError::Setup)?, base: base.clone(), tls })
    }

    /// A client like this one's, with nothing that is bounded for a whole request.
    ///
    /// # Errors
    /// TLS could not be set up.
    pub fn unhurried(&self) -> Result<ClientBuilder, HttpError> {
        client_builder(&self.base, &self.tls)
    }

    /// The base URL.
    pub fn base(&self) -> &ServerUrl {
        &self.base
    }

    /// The first `max + 1` bytes of a file, so that who knows how long it may be sees one that is
    /// longer.
    ///
    /// # Errors
    /// As [`HttpError`] says; a missing file is one with status 404.
    pub async fn get(&self, path: &str, max: u64) -> Result<Vec<u8>, HttpError> {
        let url = format!("{}/{path}", self.base);
        body(&url, self.client.get(&url).send().await, max.saturating_add(1)).await
    }

    /// The same; `None`: there is no such file.
    ///
    /// # Errors
    /// As [`HttpError`] says.
    pub async fn find(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, HttpError> {
        match self.get(path, max).await {
            Err(HttpError::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// The answer to a question.
    ///
    /// # Errors
    /// As [`HttpError`] says.
    pub async fn post(&self, path: &str, question: &Value) -> Result<Vec<u8>, HttpError> {
        let url = format!("{}/{path}", self.base);
        let answer = self.client.post(&url).json(question).send().await;
        let bytes = body(&url, answer, ANSWER_MAX + 1).await?;
        let max = ANSWER_MAX;
        if bytes.len() as u64 > max { Err(HttpError::TooLong { url, max }) } else { Ok(bytes) }
    }
}

/// Reads an answer up to `max` bytes.
async fn body(
    url: &str,
    answer: reqwest::Result<Response>,
    max: u64,
) -> Result<Vec<u8>, HttpError> {
    let unreachable =
        |source: reqwest::Error| HttpError::Unreachable { url: url.to_owned(), source };
    let mut answer = answer.map_err(|error| match refusal(&error) {
        Some(why) => HttpError::Refused { host: host(url, &error), why },
        None => unreachable(error.without_url()),
    })?;
    let status = answer.status();
    let max = if status.is_success() { max } else { ANSWER_MAX };
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        let room = usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(bytes.len());
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    if status.is_success() {
        let page = is_page(&bytes);
        return if page { Err(HttpError::WebPage { url: url.to_owned() }) } else { Ok(bytes) };
    }
    Err(HttpError::Status { url: url.to_owned(), status, detail: detail(&bytes) })
}

/// Whom a request was sent to in the end.
fn host(url: &str, error: &reqwest::Error) -> String {
    error.url().map_or_else(|| url.to_owned(), |url| url.origin().ascii_serialization())
}

/// By what it says: a portal may call its page anything. All of the protocol is JSON.
fn is_page(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"<")
}

/// The message of the protocol's error body.
fn detail(bytes: &[u8]) -> String {
    let message = serde_json::from_slice::<Value>(bytes).ok();
    let message = message.as_ref().and_then(|value| value["error"]["message"].as_str());
    message.map(|text| format!(": {text}")).unwrap_or_default()
}

impl HttpError {
    /// Whether the request was larger than the server takes.
    pub fn asked_too_much(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::PAYLOAD_TOO_LARGE, .. })
    }

    /// Whether the server does not understand the request.
    pub fn asked_badly(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::BAD_REQUEST, .. })
    }

    /// Whether a redirect was refused, which no honest server makes necessary.
    pub fn refused_redirect(&self) -> bool {
        matches!(self, Self::Unreachable { source, .. } if source.is_redirect() && source.source().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_redirect_leads_from_https_to_http_or_on_for_ever() {
        let (http, https) = ("http://a.example/", "https://a.example/");
        for (previous, next, followed) in [
            (&[http][..], http, true),
            (&[http], https, true),
            (&[https], https, true),
            (&[https], http, false),
            (&[http, https], http, false),
            (&[https, https, http], http, false),
            (&[https; REDIRECTS_MAX], https, true),
            (&[https; REDIRECTS_MAX + 1], https, false),
        ] {
            let previous: Vec<Url> = previous.iter().map(|url| url.parse().unwrap()).collect();
            let refused = no_way(&previous, &next.parse().unwrap());
            assert_eq!(refused.is_none(), followed, "{previous:?} {next}");
        }
    }
}
