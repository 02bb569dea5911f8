//! Segments made out of the booted slot's image, where that takes fewer bytes
//! than the full payload. Whatever is wrong with one, the full payload has it.

use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use payload_tools::confined::{DecodeError, Decoder, Recipe};
use payload_tools::format::SEGMENT;
use payload_tools::format::delta::{Body, BodyError, Head, Part, SourceHasher};

use super::checked::Partition;
use super::error::InstallError;
use super::source::SourceError;
use crate::poison::lock;

/// The delta of an image, as long as it is good for something.
pub(super) struct Delta<'a> {
    head: &'a Head,
    booted: Partition<'a>,
    given_up: AtomicBool,
}

/// A thread to help with reading is worth starting for so many ranges.
const READS_EACH: usize = 8;
/// With these and itself, a thread has 32 reads under way.
const HELPERS_MAX: usize = 31;

/// Why a segment is taken from the full payload after all.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeltaTrouble {
    #[error("its part of the delta cannot be fetched")]
    Fetch(#[source] SourceError),
    #[error("its part of the delta is refused")]
    Body(#[from] BodyError),
    #[error("the booted slot cannot be read")]
    Booted(#[source] io::Error),
    #[error("the booted slot holds another image than the delta was made of")]
    OtherImage,
    #[error("it cannot be made")]
    Decode(#[source] DecodeError),
    #[error("what the delta makes is not what was signed")]
    Mismatch(#[source] payload_tools::tree::GroupMismatch),
}

impl DeltaTrouble {
    /// Whether other segments would meet the same.
    fn concerns_all(&self) -> bool {
        matches!(self, Self::Fetch(_) | Self::Booted(_) | Self::OtherImage)
    }
}

impl<'a> Delta<'a> {
    pub fn new(head: &'a Head, booted: Partition<'a>) -> Self {
        Delta { head, booted, given_up: AtomicBool::new(false) }
    }

    pub fn head(&self) -> &Head {
        self.head
    }

    /// No further segment is tried after trouble that others would have too.
    pub fn note(&self, trouble: &DeltaTrouble) {
        self.given_up.fetch_or(trouble.concerns_all(), Ordering::Relaxed);
    }

    pub fn given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// The body of a segment of `len` bytes.
    pub fn parse(&self, part: &Part, bytes: &[u8], len: usize) -> Result<Body, BodyError> {
        Body::parse(part.kind, bytes, len, self.head.from_size)
    }

    /// Fills the segment of a body that is nothing but sources; the tree checks the bytes, and says
    /// which segments are zeroes.
    pub fn copy(&self, body: &Body, segment: &mut [u8]) -> Result<(), DeltaTrouble> {
        self.read(&body.sources, segment).map_err(DeltaTrouble::Booted)
    }

    /// Makes the first `len` bytes of `scratch`, which holds a whole segment, of the body that it
    /// begins with; they are still unchecked.
    pub fn make(
        &self,
        (body, recipe): (&Body, Recipe),
        decoder: &mut Decoder,
        (scratch, body_len): (&mut [u8], usize),
        len: usize,
    ) -> Result<Result<(), DeltaTrouble>, InstallError> {
        let payload = &scratch[body.payload_at..body_len];
        let payload_len = payload.len();
        decoder.put(recipe, 0, payload).map_err(InstallError::Decoder)?;
        let mut at = 0;
        let brought = self.read_source(body, scratch, &mut |piece| {
            let put = decoder.put_source(at, piece);
            at += piece.len();
            put
        });
        match brought {
            Ok(brought) => brought.map_err(InstallError::Decoder)?,
            Err(error) => return Ok(Err(DeltaTrouble::Booted(error))),
        }
        match decoder.make(recipe, payload_len, at, &mut scratch[..len]) {
            Ok(()) => Ok(Ok(())),
            Err(error @ (DecodeError::Run(_) | DecodeError::NotConfined)) => {
                Err(InstallError::Decoder(error))
            }
            Err(error) => Ok(Err(DeltaTrouble::Decode(error))),
        }
    }

    /// Reads the source through `scratch`, as much at a time as that holds.
    fn read_source<E>(
        &self,
        body: &Body,
        scratch: &mut [u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> io::Result<Result<(), E>> {
        for ranges in fillings(&body.sources, scratch.len() as u64) {
            let len: u64 = ranges.iter().map(|range| range.end - range.start).sum();
            let bytes = &mut scratch[..len as usize];
            self.read(&ranges, bytes)?;
            if let Err(error) = take(bytes) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Fills `bytes` with ranges that are as long together. Most are a block or two, and a medium
    /// needs longer to answer one at a time than to read them.
    fn read(&self, ranges: &[Range<u64>], mut bytes: &mut [u8]) -> io::Result<()> {
        let split = |range: &Range<u64>| {
            let whole = std::mem::take(&mut bytes);
            let (piece, rest) = whole.split_at_mut((range.end - range.start) as usize);
            bytes = rest;
            (range.start, piece)
        };
        let pieces: Vec<_> = ranges.iter().map(split).collect();
        let helpers = (pieces.len() / READS_EACH).min(HELPERS_MAX);
        let pieces = Mutex::new(pieces.into_iter());
        let read = || {
            loop {
                let next = lock(&pieces).next();
                let Some((start, piece)) = next else { return Ok(()) };
                self.booted.read(start, piece)?;
            }
        };
        std::thread::scope(|scope| {
            // As many as there may be: without any it is only slower.
            let help = |_| std::thread::Builder::new().spawn_scoped(scope, read).ok();
            let helpers: Vec<_> = (0..helpers).map_while(help).collect();
            let own = read();
            let join = |helper: std::thread::ScopedJoinHandle<'_, _>| match helper.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            helpers.into_iter().map(join).fold(own, Result::and)
        })
    }

    /// Whether there is trouble because the source is another one. Only then it is looked at: the
    /// tree checks what comes of it anyway, and to hash it as well took longer than to decode.
    pub fn explained(
        &self,
        trouble: DeltaTrouble,
        body: &Body,
        scratch: &mut [u8],
    ) -> DeltaTrouble {
        if !matches!(trouble, DeltaTrouble::Decode(_) | DeltaTrouble::Mismatch(_)) {
            return trouble;
        }
        let mut hasher = SourceHasher::default();
        let read = self.read_source::<Infallible>(body, scratch, &mut |piece| {
            hasher.add(piece);
            Ok(())
        });
        match (read, body.sum) {
            (Err(error), _) => DeltaTrouble::Booted(error),
            (Ok(_), Some(sum)) if sum != hasher.sum() => DeltaTrouble::OtherImage,
            (Ok(_), _) => trouble,
        }
    }
}

/// The ranges, each set of them as long together as `room`, but for the last.
fn fillings(ranges: &[Range<u64>], room: u64) -> Vec<Vec<Range<u64>>> {
    let (mut fillings, mut filling, mut left) = (Vec::new(), Vec::new(), room);
    for range in ranges {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + left);
            filling.push(start..end);
            left -= end - start;
            start = end;
            if left == 0 {
                fillings.push(std::mem::take(&mut filling));
                left = room;
            }
        }
    }
    fillings.extend((!filling.is_empty()).then_some(filling));
    fillings
}

const _: () = assert!(SEGMENT.is_multiple_of(4096), "scratch holds whole blocks of a source");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_comes_in_fillings_of_its_room() {
        let mib = |n: u64| n << 20;
        let ranges = [mib(9)..mib(10), mib(1)..mib(7), 0..4096];
        let expected = [vec![mib(9)..mib(10), mib(1)..mib(4)], vec![mib(4)..mib(7), 0..4096]];
        assert_eq!(fillings(&ranges, mib(4)), expected);
        assert_eq!(fillings(&ranges[..1], mib(1)), [ranges[..1].to_vec()]);
        assert!(fillings(&[], mib(4)).is_empty());
    }
}
