//! What counts as an answer to a request for bytes.

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};
use reqwest::{Response, StatusCode, Url};

use super::SourceError;

pub(super) fn passing(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::REQUEST_TIMEOUT
        || status == StatusCode::TOO_MANY_REQUESTS
}

/// Refuses what is no answer to a range request; gives back what it covers.
pub(super) fn accept_partial(
    url: &Url,
    asked: &str,
    response: &Response,
) -> Result<ContentRange, SourceError> {
    let url = || url.to_string();
    refuse_web_page(response)?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT => {}
        StatusCode::OK => return Err(SourceError::WholeInsteadOfRange { url: url() }),
        StatusCode::NOT_FOUND => return Err(SourceError::NotFound { url: url() }),
        status => return Err(SourceError::Status { url: url(), status: status.as_u16() }),
    }
    let text = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    text.and_then(ContentRange::parse).ok_or_else(|| SourceError::WrongRange {
        url: url(),
        asked: asked.to_owned(),
        got: text.unwrap_or("no range").to_owned(),
    })
}

/// Refuses what is not the whole document of `expected` bytes; gives back its length.
pub(super) fn accept_whole(
    url: &Url,
    expected: u64,
    response: &Response,
) -> Result<u64, SourceError> {
    refuse_web_page(response)?;
    match (response.status(), response.content_length()) {
        (StatusCode::OK, Some(got)) if got != expected => {
            Err(SourceError::WrongLength { url: url.to_string(), expected, got })
        }
        (StatusCode::OK, _) => Ok(expected),
        (StatusCode::NOT_FOUND, _) => Err(SourceError::NotFound { url: url.to_string() }),
        (status, _) => Err(SourceError::Status { url: url.to_string(), status: status.as_u16() }),
    }
}

fn refuse_web_page(response: &Response) -> Result<(), SourceError> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_page = kind.is_some_and(|kind| kind.starts_with("text/html"));
    match response.status().is_success() && is_page {
        true => Err(SourceError::WebPage { url: response.url().to_string() }),
        false => Ok(()),
    }
}

/// `bytes 0-99/1000` (RFC 9110, 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub first: u64,
    pub last: u64,
    pub total: u64,
}

impl ContentRange {
    pub fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last, total) = (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
        (first <= last && last < total).then_some(ContentRange { first, last, total })
    }
}
