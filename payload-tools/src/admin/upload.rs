use std::future::pending;
use std::io;
use std::time::Duration;

use futures_util::stream;
use reqwest::{Body, RequestBuilder};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{AdminError, Answer, Patience};

/// A PUT of a file that is not sent yet. It takes the time that it takes: the other side may be
/// slow, and only one that takes nothing more, or has everything and says nothing, is given up.
#[derive(Debug)]
pub struct Upload {
    url: String,
    request: RequestBuilder,
    length: u64,
    patience: Patience,
    end: oneshot::Receiver<End>,
}

/// How the sending of a file came to its end.
#[derive(Debug)]
enum End {
    /// The last byte is the system's to send.
    Sent,
    /// The file could not be read on.
    Unreadable(io::Error),
}

impl Upload {
    pub(super) fn new(
        url: String,
        request: RequestBuilder,
        length: u64,
        chunks: impl Iterator<Item = io::Result<Vec<u8>>> + Send + 'static,
        patience: Patience,
    ) -> Self {
        let (tell, end) = oneshot::channel();
        let body = Body::wrap_stream(stream::iter(watched(chunks, length, tell)));
        Self { url, request: request.body(body), length, patience, end }
    }

    /// Sends it and takes no answer but yes.
    pub async fn accepted(self) -> Result<Answer, AdminError> {
        let Self { url, request, length, patience, end } = self;
        let sent = async {
            match request.send().await {
                Ok(response) => Answer { url: url.clone(), response }.accepted().await,
                Err(source) => Err(stopped(url.clone(), source, patience.sign)),
            }
        };
        let overdue = async {
            match end.await {
                Ok(End::Sent) => {
                    let within = patience.end;
                    sleep(within).await;
                    AdminError::Unanswered { url: url.clone(), length, within }
                }
                Ok(End::Unreadable(source)) => AdminError::Unreadable { url: url.clone(), source },
                // It was given up before its end, which `sent` knows more of.
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            biased;
            error = overdue => Err(error),
            answer = sent => answer,
        }
    }
}

/// The same chunks; tells when `length` bytes of them were taken, or one could not be read.
fn watched(
    chunks: impl Iterator<Item = io::Result<Vec<u8>>>,
    length: u64,
    tell: oneshot::Sender<End>,
) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    let (mut left, mut tell) = (length, Some(tell));
    // Nobody listening means that the upload was given up.
    let mut ends = move |end| tell.take().is_some_and(|tell| tell.send(end).is_ok());
    if left == 0 {
        ends(End::Sent);
    }
    chunks.map(move |chunk| match chunk {
        Ok(chunk) => {
            left = left.saturating_sub(chunk.len() as u64);
            if left == 0 {
                ends(End::Sent);
            }
            Ok(chunk)
        }
        Err(error) => {
            let kind = error.kind();
            ends(End::Unreadable(error));
            Err(kind.into())
        }
    })
}

/// The system gives a connection up that took nothing for `sign`: it counts what the other side
/// acknowledged, which nothing in this program sees.
fn stopped(url: String, source: reqwest::Error, sign: Duration) -> AdminError {
    let source = source.without_url();
    if source.is_timeout() && !source.is_connect() {
        AdminError::Stalled { url, sign, source }
    } else {
        AdminError::Unreachable { url, source }
    }
}
