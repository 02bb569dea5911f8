//! One segment: fetch, decode, check, write. Each is a request of its own: with
//! one request for all, whoever held the connection held up the others, and on a
//! busy machine that took twice as long.

use std::ops::Range;
use std::sync::Mutex;

use partition_layout::AlignedBuf;
use payload_tools::confined::{DecodeError, Decoder, Recipe};
use payload_tools::fetch_plan::{Job, Origin, Wanted, bytes_in_segment};
use payload_tools::format::delta::Part;
use payload_tools::format::{Role, SEGMENT};
use payload_tools::tree::GroupMismatch;

use super::checked::CheckedRun;
use super::crew::Duty;
use super::delta::{Delta, DeltaTrouble};
use super::error::InstallError;
use super::head::KernelHead;
use super::index::Indexed;
use super::progress::Meter;
use super::schedule::Charge;
use super::source::{PayloadSource, SourceError};
use crate::poison::lock;

/// Brings segments of one image to the target.
pub(super) struct SegmentWriter<'a> {
    pub indexed: &'a Indexed<'a>,
    pub wanted: &'a Wanted,
    pub source: &'a dyn PayloadSource,
    pub meter: &'a Meter<'a>,
    /// Receives the kernel's head, which is not written.
    pub head: &'a Mutex<Option<KernelHead>>,
}

/// What one thread works with.
pub(super) struct Bench {
    decoder: Option<Decoder>,
    /// And what comes through here before the segment does.
    pub segment: AlignedBuf,
}

impl Bench {
    /// A decoder is started when the first segment is to be decoded.
    pub fn new() -> Self {
        Bench { decoder: None, segment: AlignedBuf::zeroed(SEGMENT) }
    }

    fn decoder(&mut self) -> Result<(&mut Decoder, &mut [u8]), InstallError> {
        let decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => Decoder::start().map_err(InstallError::Decoder)?,
        };
        Ok((self.decoder.insert(decoder), self.segment.bytes_mut()))
    }
}

/// Why a segment did not become bytes of the image.
enum Spoilt {
    Undecodable(DecodeError),
    Mismatch(GroupMismatch),
}

/// A delta does not give a segment, for this once or at all.
struct NoGood;

/// What became of a segment.
pub(super) enum Brought {
    /// It is in the target.
    Written,
    /// The full payload has it, and this thread is not there to decode.
    NotDecoded(Job),
    /// Another thread has given the stage up.
    GivenUp,
}

impl SegmentWriter<'_> {
    /// All four steps, from wherever the segment takes the fewest bytes.
    pub fn write_segment(
        &self,
        (duty, job): (Duty, &Job),
        bench: &mut Bench,
        charge: &mut Charge<'_>,
    ) -> Result<Brought, InstallError> {
        match &job.origin {
            Origin::Zeroes => self.write_zeroes(job, bench)?,
            Origin::Frame(frame) => self.take_frame(job, frame, bench)?,
            Origin::Delta(part, frame) => {
                if self.made_of_delta(job, part, bench)?.is_err() {
                    if duty == Duty::Copy {
                        let origin = Origin::Frame(frame.clone());
                        return Ok(Brought::NotDecoded(Job { origin, ..job.clone() }));
                    }
                    if charge.change_to(frame.end - frame.start).is_break() {
                        return Ok(Brought::GivenUp);
                    }
                    self.take_frame(job, frame, bench)?;
                }
            }
        }
        Ok(Brought::Written)
    }

    /// Makes a segment of the delta, unless that is no good.
    fn made_of_delta(
        &self,
        job: &Job,
        part: &Part,
        bench: &mut Bench,
    ) -> Result<Result<(), NoGood>, InstallError> {
        let delta = self.indexed.delta.as_ref().filter(|delta| !delta.given_up());
        let Some(delta) = delta else { return Ok(Err(NoGood)) };
        let Err(trouble) = self.take_delta(job, delta, part, bench)? else { return Ok(Ok(())) };
        let place = self.indexed.place(job.segment, self.meter);
        let why = crate::chain(&trouble);
        tracing::warn!(%place, why, "taken from the full payload instead of the delta");
        delta.note(&trouble);
        Ok(Err(NoGood))
    }

    /// Makes a segment out of the booted slot's image, checks and writes it.
    fn take_delta(
        &self,
        job: &Job,
        delta: &Delta<'_>,
        part: &Part,
        bench: &mut Bench,
    ) -> Result<Result<(), DeltaTrouble>, InstallError> {
        // No more than a segment, or it would not be tried.
        let body_len = (part.body.end - part.body.start) as usize;
        let bytes = &mut bench.segment.bytes_mut()[..body_len];
        let from = &delta.head().from_root;
        let reader = self.source.open_delta(self.indexed.image, from, part.body.clone());
        match reader.and_then(|mut reader| reader.read_exact(bytes)) {
            Ok(()) => {}
            // The full payload is not wanted either.
            Err(source @ SourceError::Stopped { .. }) => {
                let place = self.indexed.place(job.segment, self.meter);
                return Err(InstallError::Fetch { place, source });
            }
            Err(error) => return Ok(Err(DeltaTrouble::Fetch(error))),
        }
        self.meter.count_fetched(body_len as u64);
        let len = self.indexed.segment_len(job.segment);
        let body = match delta.parse(part, bytes, len) {
            Ok(body) => body,
            Err(error) => return Ok(Err(error.into())),
        };
        let made = match Recipe::of(body.method) {
            None => delta.copy(&body, &mut bench.segment.bytes_mut()[..len]),
            Some(recipe) => {
                let (decoder, scratch) = bench.decoder()?;
                delta.make((&body, recipe), decoder, (scratch, body_len), len)?
            }
        };
        let scratch = bench.segment.bytes_mut();
        let trouble = match made {
            Ok(()) => match self.check_and_write(job, scratch)? {
                Ok(()) => return Ok(Ok(())),
                Err(mismatch) => DeltaTrouble::Mismatch(mismatch),
            },
            Err(trouble) => trouble,
        };
        Ok(Err(delta.explained(trouble, &body, scratch)))
    }

    /// A bad segment is fetched again, once.
    fn take_frame(
        &self,
        job: &Job,
        frame: &Range<u64>,
        bench: &mut Bench,
    ) -> Result<(), InstallError> {
        self.fetch(job, frame, bench)?;
        if self.decode_and_write(job, frame, bench)?.is_ok() {
            return Ok(());
        }
        let place = self.indexed.place(job.segment, self.meter);
        tracing::warn!(%place, "bad segment, fetching it again");
        self.fetch(job, frame, bench)?;
        match self.decode_and_write(job, frame, bench)? {
            Ok(()) => Ok(()),
            Err(Spoilt::Undecodable(source)) => Err(InstallError::Decode { place, source }),
            Err(Spoilt::Mismatch(source)) => Err(InstallError::Mismatch { place, source }),
        }
    }

    /// Brings a frame from the source into the decoder's buffer.
    fn fetch(&self, job: &Job, frame: &Range<u64>, bench: &mut Bench) -> Result<(), InstallError> {
        let failed = |source| {
            let place = self.indexed.place(job.segment, self.meter);
            InstallError::Fetch { place, source }
        };
        let (decoder, scratch) = bench.decoder()?;
        let mut reader = self.source.open(self.indexed.image, frame.clone()).map_err(failed)?;
        // The seek table bounds a frame to little more than a segment.
        let len = (frame.end - frame.start) as usize;
        for at in (0..len).step_by(SEGMENT) {
            let piece = &mut scratch[..(len - at).min(SEGMENT)];
            reader.read_exact(piece).map_err(failed)?;
            decoder.put(Recipe::Zstd, at, piece).map_err(InstallError::Decoder)?;
        }
        self.meter.count_fetched(len as u64);
        Ok(())
    }

    fn decode_and_write(
        &self,
        job: &Job,
        frame: &Range<u64>,
        bench: &mut Bench,
    ) -> Result<Result<(), Spoilt>, InstallError> {
        let len = self.indexed.segment_len(job.segment);
        let (decoder, segment) = bench.decoder()?;
        let frame_len = (frame.end - frame.start) as usize;
        match decoder.make(Recipe::Zstd, frame_len, 0, &mut segment[..len]) {
            Ok(()) => {}
            Err(error @ (DecodeError::Run(_) | DecodeError::NotConfined)) => {
                return Err(InstallError::Decoder(error));
            }
            Err(error) => return Ok(Err(Spoilt::Undecodable(error))),
        }
        Ok(self.check_and_write(job, bench.segment.bytes())?.map_err(Spoilt::Mismatch))
    }

    /// Checks all of a segment before any of it is written.
    fn check_and_write(
        &self,
        job: &Job,
        segment: &[u8],
    ) -> Result<Result<(), GroupMismatch>, InstallError> {
        let runs = self.wanted.runs(job.segment);
        let checked: Result<Vec<_>, _> = runs
            .into_iter()
            .map(|run| {
                let bytes = bytes_in_segment(job.segment, &run, self.indexed.image.size);
                CheckedRun::check(self.indexed.levels, run.start, &segment[bytes])
            })
            .collect();
        match checked {
            Ok(runs) => runs.iter().try_for_each(|run| self.write(job, run)).map(Ok),
            Err(mismatch) => Ok(Err(mismatch)),
        }
    }

    fn write_zeroes(&self, job: &Job, bench: &mut Bench) -> Result<(), InstallError> {
        for run in self.wanted.runs(job.segment) {
            let place = self.indexed.place(job.segment, self.meter);
            let groups = run.start..run.end.min(self.indexed.levels.group_count());
            let run = CheckedRun::zeroes(self.indexed.levels, &groups, bench.segment.bytes_mut())
                .map_err(|source| InstallError::Mismatch { place, source })?;
            self.write(job, &run)?;
        }
        Ok(())
    }

    fn write(&self, job: &Job, run: &CheckedRun<'_>) -> Result<(), InstallError> {
        if self.indexed.image.role == Role::Kernel
            && let Some(head) = KernelHead::of(run)
        {
            *lock(self.head) = Some(head);
        }
        self.indexed.target.write(run).map_err(|source| InstallError::Write {
            place: self.indexed.place(job.segment, self.meter),
            source,
        })
    }
}
