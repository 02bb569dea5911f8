//! Fetch, decode, check, write. Each thread carries one segment through all
//! four, so that while one waits for the network another decodes and a third
//! waits for the medium; only fetching is one after the other.

use std::iter::Peekable;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use payload_tools::format::{Role, SEGMENT};
use payload_tools::tree::GroupMismatch;

use super::aligned::AlignedBuffer;
use super::checked::CheckedRun;
use super::confined::{DecodeError, Decoder};
use super::crew;
use super::error::InstallError;
use super::head::KernelHead;
use super::index::{Indexed, advance};
use super::progress::Meter;
use super::source::{PayloadReader, PayloadSource, SourceError};
use super::wanted::{Job, Origin, Wanted, bytes_in_segment, request_end};

/// Writes the groups of an image that are wanted. Gives back the kernel's
/// head, which it does not write, when that was among them.
pub(super) fn write_wanted(
    indexed: &Indexed<'_>,
    wanted: &Wanted,
    source: &dyn PayloadSource,
    meter: &Meter<'_>,
) -> Result<Option<KernelHead>, InstallError> {
    let jobs = wanted.jobs(&indexed.table);
    let threads_worth = jobs.len();
    let satisfied = indexed.image.size
        - jobs.iter().map(|job| indexed.segment_len(job.segment) as u64).sum::<u64>();
    let pipeline = Pipeline {
        indexed,
        wanted,
        source,
        meter,
        feed: Mutex::new(Feed { jobs: jobs.into_iter().peekable(), open: None }),
        head: Mutex::new(None),
    };
    advance(meter, satisfied as usize)?;
    crew::run(threads_worth, |stop| {
        let mut bench = Bench { decoder: None, segment: AlignedBuffer::new(SEGMENT) };
        while !stop.asked() {
            let Some(job) = pipeline.next(&mut bench)? else { break };
            pipeline.finish(&job, &mut bench)?;
            advance(meter, indexed.segment_len(job.segment))?;
        }
        Ok(())
    })?;
    Ok(pipeline.head.into_inner().unwrap_or_else(PoisonError::into_inner))
}

struct Pipeline<'a> {
    indexed: &'a Indexed<'a>,
    wanted: &'a Wanted,
    source: &'a dyn PayloadSource,
    meter: &'a Meter<'a>,
    feed: Mutex<Feed<'a>>,
    head: Mutex<Option<KernelHead>>,
}

/// What one thread works with.
struct Bench {
    decoder: Option<Decoder>,
    segment: AlignedBuffer,
}

impl Bench {
    fn decoder(&mut self) -> Result<(&mut Decoder, &mut [u8]), InstallError> {
        let decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => Decoder::start().map_err(InstallError::Decoder)?,
        };
        Ok((self.decoder.insert(decoder), self.segment.bytes_mut()))
    }
}

/// The jobs that are left, and the connection that brings their frames.
struct Feed<'a> {
    jobs: Peekable<std::vec::IntoIter<Job>>,
    open: Option<OpenRange<'a>>,
}

struct OpenRange<'a> {
    reader: Box<dyn PayloadReader + 'a>,
    left: Range<u64>,
}

/// Why a segment did not become bytes of the image.
enum Spoilt {
    Undecodable(DecodeError),
    Mismatch(GroupMismatch),
}

impl<'a> Pipeline<'a> {
    /// Takes the next job; its frame is then in the decoder's buffer.
    fn next(&self, bench: &mut Bench) -> Result<Option<Job>, InstallError> {
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(job) = feed.jobs.next() else { return Ok(None) };
        if let Origin::Frame(frame) = &job.origin {
            let fetch = |error| self.fetch_error(&job, error);
            let open = feed.range_with(frame, self).map_err(fetch)?;
            self.load(open, frame, bench, &job)?;
        }
        Ok(Some(job))
    }

    /// Moves a frame from the connection into the decoder's buffer.
    fn load(
        &self,
        open: &mut OpenRange<'a>,
        frame: &Range<u64>,
        bench: &mut Bench,
        job: &Job,
    ) -> Result<(), InstallError> {
        let (decoder, scratch) = bench.decoder()?;
        while open.left.start < frame.end {
            // What lies before the frame is a gap too small for a request.
            let (end, keep) = match open.left.start < frame.start {
                true => (frame.start, false),
                false => (frame.end, true),
            };
            let len =
                usize::try_from(end - open.left.start).map_or(SEGMENT, |len| len.min(SEGMENT));
            let piece = &mut scratch[..len];
            open.reader.read_exact(piece).map_err(|error| self.fetch_error(job, error))?;
            if keep {
                let at = (open.left.start - frame.start) as usize;
                decoder.put(at, piece).map_err(InstallError::Decoder)?;
            }
            open.left.start += len as u64;
            self.meter.count_fetched(len as u64);
        }
        Ok(())
    }

    /// Decodes, checks and writes. A bad segment is fetched again, once.
    fn finish(&self, job: &Job, bench: &mut Bench) -> Result<(), InstallError> {
        let Origin::Frame(frame) = &job.origin else {
            return self.write_zeroes(job, bench);
        };
        let spoilt = match self.decode_and_write(job, frame, bench)? {
            Ok(()) => return Ok(()),
            Err(spoilt) => spoilt,
        };
        let place = self.indexed.place(job.segment, self.meter);
        tracing::warn!(%place, "bad segment, fetching it again");
        drop(spoilt);
        let reader = self
            .source
            .open(self.indexed.image, frame.clone())
            .map_err(|error| self.fetch_error(job, error))?;
        self.load(&mut OpenRange { reader, left: frame.clone() }, frame, bench, job)?;
        match self.decode_and_write(job, frame, bench)? {
            Ok(()) => Ok(()),
            Err(Spoilt::Undecodable(source)) => Err(InstallError::Decode { place, source }),
            Err(Spoilt::Mismatch(source)) => Err(InstallError::Mismatch { place, source }),
        }
    }

    fn decode_and_write(
        &self,
        job: &Job,
        frame: &Range<u64>,
        bench: &mut Bench,
    ) -> Result<Result<(), Spoilt>, InstallError> {
        let len = self.indexed.segment_len(job.segment);
        let (decoder, segment) = bench.decoder()?;
        match decoder.decode((frame.end - frame.start) as usize, &mut segment[..len]) {
            Ok(()) => {}
            Err(error @ (DecodeError::Run(_) | DecodeError::NotConfined)) => {
                return Err(InstallError::Decoder(error));
            }
            Err(error) => return Ok(Err(Spoilt::Undecodable(error))),
        }
        // All of the segment before any of it.
        let runs = self.wanted.runs(job.segment);
        let checked: Result<Vec<_>, _> = runs
            .into_iter()
            .map(|run| {
                let bytes = bytes_in_segment(job.segment, &run, self.indexed.image.size);
                CheckedRun::check(&self.indexed.levels, run.start, &segment[bytes])
            })
            .collect();
        match checked {
            Ok(runs) => runs.iter().try_for_each(|run| self.write(job, run)).map(Ok),
            Err(mismatch) => Ok(Err(Spoilt::Mismatch(mismatch))),
        }
    }

    fn write_zeroes(&self, job: &Job, bench: &mut Bench) -> Result<(), InstallError> {
        for run in self.wanted.runs(job.segment) {
            let place = self.indexed.place(job.segment, self.meter);
            let groups = run.start..run.end.min(self.indexed.levels.group_count());
            let run = CheckedRun::zeroes(&self.indexed.levels, &groups, bench.segment.bytes_mut())
                .map_err(|source| InstallError::Mismatch { place, source })?;
            self.write(job, &run)?;
        }
        Ok(())
    }

    fn write(&self, job: &Job, run: &CheckedRun<'_>) -> Result<(), InstallError> {
        if self.indexed.image.role == Role::Kernel
            && let Some(head) = KernelHead::of(run)
        {
            *self.head.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
        }
        self.indexed.target.write(run).map_err(|source| InstallError::Write {
            place: self.indexed.place(job.segment, self.meter),
            source,
        })
    }

    fn fetch_error(&self, job: &Job, source: SourceError) -> InstallError {
        InstallError::Fetch { place: self.indexed.place(job.segment, self.meter), source }
    }
}

impl<'a> Feed<'a> {
    /// The open connection if it still has `frame` before it, else a new one
    /// for it and the frames that follow closely.
    fn range_with(
        &mut self,
        frame: &Range<u64>,
        pipeline: &Pipeline<'a>,
    ) -> Result<&mut OpenRange<'a>, SourceError> {
        let open = match self.open.take() {
            Some(open) if open.left.start <= frame.start && frame.end <= open.left.end => open,
            _ => {
                let following = self.jobs.clone().filter_map(|job| match job.origin {
                    Origin::Frame(frame) => Some(frame),
                    Origin::Zeroes => None,
                });
                let end = request_end(std::iter::once(frame.clone()).chain(following));
                let left = frame.start..end;
                let reader = pipeline.source.open(pipeline.indexed.image, left.clone())?;
                OpenRange { reader, left }
            }
        };
        Ok(self.open.insert(open))
    }
}
