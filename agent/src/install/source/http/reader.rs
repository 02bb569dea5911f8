use std::ops::Range;
use std::time::{Duration, Instant};

use reqwest::{Response, Url};

use super::answer::{accept_partial, accept_whole};
use super::patience::{Gait, Pace};
use super::{HttpSource, Trouble};
use crate::install::source::{PayloadReader, SourceError};

/// What is read: a whole document is asked for without a range at first, since
/// only full payloads need a server that knows ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Document {
    Whole,
    Range,
}

/// Reads a range, over as many connections as that takes.
pub(super) struct HttpReader<'s> {
    source: &'s HttpSource,
    pub url: Url,
    document: Document,
    /// What is still to be read.
    pub range: Range<u64>,
    /// Bytes that were taken from the allowance and have not come.
    due: u64,
    /// Length of the whole document, once an answer told it.
    pub total: Option<u64>,
    pub answer: Option<Response>,
    /// What the connection gave and nobody took yet.
    chunk: bytes::Bytes,
    trouble: Trouble,
    pace: Pace,
    /// Paces in a row in which the server dripped.
    drips: Trouble,
}

impl<'s> HttpReader<'s> {
    pub fn new(
        source: &'s HttpSource,
        url: Url,
        range: Range<u64>,
        document: Document,
    ) -> Result<Self, SourceError> {
        let due = range.end - range.start;
        source.allowance.take(due)?;
        Ok(HttpReader {
            source,
            url,
            document,
            range,
            due,
            total: None,
            answer: None,
            chunk: bytes::Bytes::new(),
            trouble: Trouble::default(),
            pace: Pace::default(),
            drips: Trouble::default(),
        })
    }

    /// The open answer, or a new one from where the last one broke.
    fn answer(&mut self) -> Result<Response, SourceError> {
        if let Some(answer) = self.answer.take() {
            return Ok(answer);
        }
        if self.document == Document::Whole && self.range.start == 0 {
            let answer = self.source.ask(&self.url, None, &mut self.trouble)?;
            self.total = Some(accept_whole(&self.url, self.range.end, &answer)?);
            return Ok(answer);
        }
        let asked = format!("bytes={}-{}", self.range.start, self.range.end.saturating_sub(1));
        let answer = self.source.ask(&self.url, Some(&asked), &mut self.trouble)?;
        let got = accept_partial(&self.url, &asked, &answer)?;
        if (got.first, got.last + 1) != (self.range.start, self.range.end) {
            return Err(SourceError::WrongRange {
                url: self.url.to_string(),
                asked,
                got: format!("bytes {}-{}/{}", got.first, got.last, got.total),
            });
        }
        self.total = Some(got.total);
        Ok(answer)
    }

    /// Waits for the next bytes; on a broken connection asks for the rest.
    fn next_chunk(&mut self) -> Result<(), SourceError> {
        while self.chunk.is_empty() {
            let began = Instant::now();
            let answer = self.answer()?;
            // Open as long as it is waited for.
            let answer = self.answer.insert(answer);
            let came = self.source.await_bytes(&self.url, answer.chunk())?;
            let error = match came {
                Ok(Ok(Some(chunk))) => {
                    self.trouble = Trouble::default();
                    self.due = self.due.saturating_sub(chunk.len() as u64);
                    self.keep_pace(chunk.len(), began.elapsed())?;
                    let pause = self.source.allowance.pause(chunk.len());
                    self.source.pause(&self.url, pause)?;
                    self.chunk = chunk;
                    continue;
                }
                Ok(Ok(None)) => SourceError::WrongLength {
                    url: self.url.to_string(),
                    expected: self.range.end,
                    got: self.range.start,
                },
                Ok(Err(source)) => self.trouble.unreachable(&self.url, source),
                Err(_) => self.trouble.stalled(&self.url),
            };
            self.answer = None;
            self.trouble.count(error, &self.url, self.source)?;
        }
        Ok(())
    }
}

impl HttpReader<'_> {
    /// Leaves the answer that drips.
    fn keep_pace(&mut self, bytes: usize, waited: Duration) -> Result<(), SourceError> {
        match self.pace.count(bytes, waited, &self.source.patience) {
            Gait::Dripping => {
                self.answer = None;
                let error = self.drips.stalled(&self.url);
                return self.drips.count(error, &self.url, self.source);
            }
            Gait::Steady => self.drips = Trouble::default(),
            Gait::Open => {}
        }
        Ok(())
    }
}

impl Drop for HttpReader<'_> {
    fn drop(&mut self) {
        // What is sent to one that hangs up is on its way, and counts.
        if self.answer.is_none() {
            self.source.allowance.give_back(self.due);
        }
    }
}

impl PayloadReader for HttpReader<'_> {
    fn read_exact(&mut self, mut buf: &mut [u8]) -> Result<(), SourceError> {
        let left = self.range.end - self.range.start;
        if buf.len() as u64 > left {
            let (expected, got) = (buf.len() as u64, left);
            return Err(SourceError::WrongLength { url: self.url.to_string(), expected, got });
        }
        while !buf.is_empty() {
            self.next_chunk()?;
            let len = buf.len().min(self.chunk.len());
            let taken = self.chunk.split_to(len);
            let (head, rest) = buf.split_at_mut(len);
            head.copy_from_slice(&taken);
            buf = rest;
            self.range.start += len as u64;
        }
        Ok(())
    }
}
