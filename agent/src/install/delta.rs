//! Segments made out of the booted slot's image, where that takes fewer bytes
//! than the full payload. Whatever is wrong with one, the full payload has it.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use payload_tools::format::SEGMENT;
use payload_tools::format::delta::{Body, BodyError, Head, Kind, Part, SourceHasher};

use super::checked::Partition;
use super::confined::{DecodeError, Decoder, Recipe};
use super::error::InstallError;
use super::source::SourceError;

/// The delta of an image, as long as it is good for something.
pub(super) struct Delta<'a> {
    head: &'a Head,
    booted: Partition<'a>,
    given_up: AtomicBool,
}

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

    /// Makes the first `len` bytes of `scratch`, which holds a whole segment, of the body of its
    /// part; they are still unchecked.
    pub fn make(
        &self,
        part: &Part,
        bytes: &[u8],
        decoder: &mut Decoder,
        scratch: &mut [u8],
        len: usize,
    ) -> Result<Result<(), DeltaTrouble>, InstallError> {
        let body = match Body::parse(part.kind, bytes, len, self.head.from_size) {
            Ok(body) => body,
            Err(error) => return Ok(Err(error.into())),
        };
        let Some(recipe) = Recipe::of(body.method) else {
            // A copy: the tree checks the bytes themselves, and says which segments are zeroes.
            return Ok(self.copy(&body.sources, &mut scratch[..len]).map_err(DeltaTrouble::Booted));
        };
        if let Err(trouble) = self.bring_source(&body, decoder, scratch)? {
            return Ok(Err(trouble));
        }
        let payload = &bytes[body.payload_at..];
        decoder.put(0, payload).map_err(InstallError::Decoder)?;
        match decoder.make(recipe, payload.len(), body.source_len(), &mut scratch[..len]) {
            Ok(()) => Ok(Ok(())),
            Err(error @ (DecodeError::Run(_) | DecodeError::NotConfined)) => {
                Err(InstallError::Decoder(error))
            }
            Err(error) => Ok(Err(DeltaTrouble::Decode(error))),
        }
    }

    fn copy(&self, sources: &[Range<u64>], mut segment: &mut [u8]) -> io::Result<()> {
        for range in sources {
            // A copy has its segment's length.
            let (piece, rest) = segment.split_at_mut((range.end - range.start) as usize);
            self.booted.read(range.start, piece)?;
            segment = rest;
        }
        Ok(())
    }

    /// Reads the source through `scratch` into the decoder's buffer.
    fn bring_source(
        &self,
        body: &Body,
        decoder: &Decoder,
        scratch: &mut [u8],
    ) -> Result<Result<(), DeltaTrouble>, InstallError> {
        let (mut hasher, mut at) = (SourceHasher::default(), 0);
        for range in &body.sources {
            for start in range.clone().step_by(scratch.len()) {
                let len = (range.end - start).min(scratch.len() as u64) as usize;
                let piece = &mut scratch[..len];
                if let Err(error) = self.booted.read(start, piece) {
                    return Ok(Err(DeltaTrouble::Booted(error)));
                }
                hasher.add(piece);
                decoder.put_source(at, piece).map_err(InstallError::Decoder)?;
                at += len;
            }
        }
        let is_other = body.sum.is_some_and(|sum| sum != hasher.sum());
        Ok(if is_other { Err(DeltaTrouble::OtherImage) } else { Ok(()) })
    }
}

/// The part of a delta that makes a segment with fewer bytes than `frame`.
pub(super) fn cheaper(head: &Head, segment: u64, frame: &Range<u64>) -> Option<Part> {
    let part = head.part(segment)?;
    let len = |range: &Range<u64>| range.end - range.start;
    // The tree says which segments are zeroes.
    (part.kind != Kind::Zero && len(&part.body) < len(frame)).then_some(part)
}

const _: () = assert!(SEGMENT.is_multiple_of(4096), "scratch holds whole blocks of a source");
