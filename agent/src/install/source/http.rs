//! Payloads over HTTP, by range requests that survive a dropped connection.

mod answer;
mod patience;
mod reader;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use payload_tools::format::{Hash, Image};
use reqwest::header::RANGE;
use reqwest::{Client, ClientBuilder, Response, Url};
use tokio::runtime::Runtime;
use tokio::time::error::Elapsed;

use super::{Allowance, End, PayloadReader, PayloadSource, SourceError, StopWord};
use crate::config::DownloadSettings;
use answer::{accept_partial, passing};
pub use patience::Patience;
use reader::{Document, HttpReader};

/// The payloads below `<base>/v1/images/` of an update server (docs/protocol.md).
pub struct HttpSource {
    base: Url,
    client: Client,
    runtime: Runtime,
    patience: Patience,
    allowance: Arc<Allowance>,
    stop: Option<StopWord>,
}

impl HttpSource {
    /// A source at `base`, with a client and a thread of its own, which drives
    /// the connections of all readers.
    pub fn new(base: Url, client: ClientBuilder, patience: Patience) -> Result<Self, SourceError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| SourceError::Client(error.into()))?;
        let client = client.build().map_err(|error| SourceError::Client(error.into()))?;
        let allowance = Arc::new(Allowance::open(DownloadSettings::default(), None, None));
        Ok(HttpSource { base, client, runtime, patience, allowance, stop: None })
    }

    /// The same, within what the configuration allows.
    #[must_use]
    pub fn within(mut self, allowance: Arc<Allowance>) -> Self {
        self.allowance = allowance;
        self
    }

    /// The same, until this word is given: then whatever it waits for ends with
    /// [`SourceError::Stopped`].
    #[must_use]
    pub fn until(mut self, stop: StopWord) -> Self {
        self.stop = Some(stop);
        self
    }

    fn url(&self, image: &Image, file: &str) -> Result<Url, SourceError> {
        let mut base = self.base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        base.join(&format!("v1/images/{}/{file}", image.root))
            .map_err(|error| SourceError::Client(error.into()))
    }

    /// Asks until there is an answer that is neither a broken connection nor a
    /// server's passing trouble, or patience ends.
    fn ask(
        &self,
        url: &Url,
        range: Option<&str>,
        trouble: &mut Trouble,
    ) -> Result<Response, SourceError> {
        loop {
            let mut request = self.client.get(url.clone());
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            let error = match self.await_bytes(url, request.send())? {
                Ok(Ok(response)) if passing(response.status()) => {
                    let status = response.status().as_u16();
                    SourceError::Status { url: url.to_string(), status }
                }
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(source)) => trouble.unreachable(url, source),
                Err(_) => trouble.stalled(url),
            };
            trouble.count(error, url, self)?;
        }
    }

    /// What the network gives, within the time that it may be silent.
    fn await_bytes<T>(
        &self,
        url: &Url,
        bytes: impl Future<Output = T>,
    ) -> Result<Result<T, Elapsed>, SourceError> {
        let silence_max = self.patience.silence_max;
        self.block_on(url, async { tokio::time::timeout(silence_max, bytes).await })
    }

    fn pause(&self, url: &Url, pause: Duration) -> Result<(), SourceError> {
        match pause.is_zero() {
            true => Ok(()),
            // The timer is made inside: this thread need not be the runtime's.
            false => self.block_on(url, async { tokio::time::sleep(pause).await }),
        }
    }

    fn block_on<T>(&self, url: &Url, wait: impl Future<Output = T>) -> Result<T, SourceError> {
        let Some(stop) = &self.stop else { return Ok(self.runtime.block_on(wait)) };
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.given() => Err(SourceError::Stopped { url: url.to_string() }),
                waited = wait => Ok(waited),
            }
        })
    }
}

/// Attempts in a row that brought nothing.
#[derive(Default)]
struct Trouble {
    attempts: u32,
}

impl Trouble {
    fn unreachable(&self, url: &Url, source: reqwest::Error) -> SourceError {
        SourceError::Unreachable {
            url: url.to_string(),
            attempts: self.attempts + 1,
            source: source.without_url(),
        }
    }

    fn stalled(&self, url: &Url) -> SourceError {
        SourceError::Stalled { url: url.to_string(), attempts: self.attempts + 1 }
    }

    /// Counts one more failure: waits, or gives the error back when it was one too many.
    fn count(
        &mut self,
        error: SourceError,
        url: &Url,
        source: &HttpSource,
    ) -> Result<(), SourceError> {
        self.attempts += 1;
        if self.attempts >= source.patience.fruitless_attempts_max {
            return Err(error);
        }
        tracing::debug!(attempt = self.attempts, %error, "asking again");
        source.pause(url, source.patience.pause_before(self.attempts - 1))
    }
}

impl PayloadSource for HttpSource {
    fn levels(&self, image: &Image, len: u64) -> Result<Vec<u8>, SourceError> {
        let url = self.url(image, "levels")?;
        if len == 0 {
            return Ok(Vec::new());
        }
        let mut body = HttpReader::new(self, url, 0..len, Document::Whole)?;
        let mut bytes = vec![0; usize_of(len)];
        body.read_exact(&mut bytes)?;
        match body.total {
            Some(got) if got != len => {
                Err(SourceError::WrongLength { url: body.url.to_string(), expected: len, got })
            }
            _ => Ok(bytes),
        }
    }

    fn tail(&self, image: &Image, len: u64) -> Result<End, SourceError> {
        let url = self.url(image, "full")?;
        let asked = format!("bytes=-{len}");
        // Where they are the answer tells; how many they are is known.
        let mut body = HttpReader::new(self, url.clone(), 0..len, Document::Range)?;
        let answer = self.ask(&url, Some(&asked), &mut Trouble::default())?;
        let got = accept_partial(&url, &asked, &answer)?;
        if got.last + 1 != got.total || got.last - got.first + 1 != len {
            return Err(SourceError::WrongLength {
                url: url.to_string(),
                expected: len,
                got: got.total,
            });
        }
        // The answer told the length; read by position, the bytes survive a cut too.
        (body.range, body.answer) = (got.first..got.total, Some(answer));
        let mut bytes = vec![0; usize_of(len)];
        body.read_exact(&mut bytes)?;
        Ok(End { bytes, total: got.total })
    }

    fn open(
        &self,
        image: &Image,
        range: Range<u64>,
    ) -> Result<Box<dyn PayloadReader + '_>, SourceError> {
        Ok(Box::new(HttpReader::new(self, self.url(image, "full")?, range, Document::Range)?))
    }

    fn delta_head(&self, image: &Image, from: &Hash, len: u64) -> Result<End, SourceError> {
        let url = self.url(image, &format!("delta/{from}"))?;
        let mut body = HttpReader::new(self, url, 0..len, Document::Range)?;
        let mut bytes = vec![0; usize_of(len)];
        body.read_exact(&mut bytes)?;
        // An answer was taken, and it told the length.
        Ok(End { bytes, total: body.total.unwrap_or(len) })
    }

    fn open_delta(
        &self,
        image: &Image,
        from: &Hash,
        range: Range<u64>,
    ) -> Result<Box<dyn PayloadReader + '_>, SourceError> {
        let url = self.url(image, &format!("delta/{from}"))?;
        Ok(Box::new(HttpReader::new(self, url, range, Document::Range)?))
    }
}

/// Lengths come from a checked manifest (levels, seek table): far below 4 GiB.
fn usize_of(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

impl Drop for HttpSource {
    fn drop(&mut self) {
        self.allowance.settle();
    }
}

#[cfg(test)]
mod tests;
