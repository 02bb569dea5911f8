//! Segments made out of the booted slot's image, where that takes fewer bytes
//! than the full payload. Whatever is wrong with one, the full payload has it.

use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use payload_tools::confined::{DecodeError, Decoder, Recipe};
use payload_tools::format::delta::{Body, BodyError, Head, Part, SourceHasher};
use payload_tools::format::{BLOCK, SEGMENT};

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

/// What kept a segment from being made.
enum Unmade {
    Booted(io::Error),
    Decoder(DecodeError),
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
        let is_slow = matches!(self, Self::Decode(DecodeError::TimedOut(_)));
        is_slow || matches!(self, Self::Fetch(_) | Self::Booted(_) | Self::OtherImage)
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
        let directories = scratch[..body.payload_at].to_vec();
        let payload = &scratch[body.payload_at..body_len];
        let payload_len = payload.len();
        decoder.put(recipe, 0, payload).map_err(InstallError::Decoder)?;
        let made = match recipe {
            Recipe::Repack { streams_len } => {
                let (streams, directories) = (streams_len as usize, &directories[..]);
                decoder.ask(recipe, payload_len, 0, len).map_err(Unmade::Decoder).and_then(|()| {
                    self.make_parts((body, directories), decoder, scratch, (streams, len))
                })
            }
            _ => self.bring(&body.sources, decoder, scratch, 0).and_then(|source_len| {
                let asked = decoder.ask(recipe, payload_len, source_len, len);
                asked.map_err(Unmade::Decoder)
            }),
        };
        match made.and_then(|()| decoder.take(&mut scratch[..len]).map_err(Unmade::Decoder)) {
            Ok(()) => Ok(Ok(())),
            Err(Unmade::Booted(error)) => Ok(Err(DeltaTrouble::Booted(error))),
            Err(Unmade::Decoder(error @ (DecodeError::Run(_) | DecodeError::NotConfined))) => {
                Err(InstallError::Decoder(error))
            }
            Err(Unmade::Decoder(error)) => Ok(Err(DeltaTrouble::Decode(error))),
        }
    }

    /// Makes a repacked segment of `len` bytes, which was begun with so many bytes of streams.
    fn make_parts(
        &self,
        (body, directories): (&Body, &[u8]),
        decoder: &mut Decoder,
        scratch: &mut [u8],
        (streams_len, len): (usize, usize),
    ) -> Result<(), Unmade> {
        for part in &body.parts {
            // Places in the body, before its payload.
            let (codecs, own) = (&directories[body.codecs.clone()], &part.directory);
            let directory = [codecs, &directories[own.clone()]].concat();
            decoder.put_source(0, &directory).map_err(Unmade::Decoder)?;
            let source_len = self.bring(&part.stored, decoder, scratch, directory.len())?;
            let recipe = Recipe::Part { directory_len: directory.len() as u32 };
            decoder.ask(recipe, streams_len, source_len, len).map_err(Unmade::Decoder)?;
        }
        Ok(())
    }

    /// Hands ranges of the booted slot's image to the decoder, behind what that has of a source; how
    /// much it has then.
    fn bring(
        &self,
        ranges: &[Range<u64>],
        decoder: &Decoder,
        scratch: &mut [u8],
        mut at: usize,
    ) -> Result<usize, Unmade> {
        let brought = self.read_source(ranges, scratch, &mut |piece| {
            let put = decoder.put_source(at, piece);
            at += piece.len();
            put
        });
        brought.map_err(Unmade::Booted)?.map_err(Unmade::Decoder)?;
        Ok(at)
    }

    /// Reads ranges through `scratch`, as much at a time as that holds.
    fn read_source<E>(
        &self,
        ranges: &[Range<u64>],
        scratch: &mut [u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> io::Result<Result<(), E>> {
        for ranges in fillings(ranges, scratch.len() as u64) {
            // A medium gives whole blocks only.
            let whole: Vec<_> = ranges.iter().map(blocks_of).collect();
            let len: u64 = whole.iter().map(|range| range.end - range.start).sum();
            let bytes = &mut scratch[..len as usize];
            self.read(&whole, bytes)?;
            let mut rest = &*bytes;
            for (range, whole) in ranges.iter().zip(whole) {
                let (blocks, behind) = rest.split_at((whole.end - whole.start) as usize);
                rest = behind;
                let start = (range.start - whole.start) as usize;
                let piece = &blocks[start..start + (range.end - range.start) as usize];
                if let Err(error) = take(piece) {
                    return Ok(Err(error));
                }
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
        let read = self.read_source::<Infallible>(&body.sources, scratch, &mut |piece| {
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

/// The blocks that these bytes lie in.
fn blocks_of(range: &Range<u64>) -> Range<u64> {
    let block = BLOCK as u64;
    range.start / block * block..range.end.next_multiple_of(block)
}

/// The ranges in sets, the blocks of each of which fit `room`, itself whole blocks.
fn fillings(ranges: &[Range<u64>], room: u64) -> Vec<Vec<Range<u64>>> {
    let (mut fillings, mut filling, mut left) = (Vec::new(), Vec::new(), room);
    for range in ranges {
        let mut start = range.start;
        while start < range.end {
            let whole = blocks_of(&(start..range.end));
            let end = range.end.min(whole.start + left);
            filling.push(start..end);
            left -= blocks_of(&(start..end)).end - whole.start;
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
    use partition_layout::BlockDevice;
    use payload_tools::format::delta::Kind;
    use payload_tools::format::{Hash, Role};

    use super::*;

    #[test]
    fn bytes_lie_in_the_blocks_that_they_touch() {
        for (bytes, blocks) in [
            (0..1, 0..4096),
            (0..4096, 0..4096),
            (4095..4097, 0..8192),
            (4096..8192, 4096..8192),
            (5000..12289, 4096..16384),
        ] {
            assert_eq!(blocks_of(&bytes), blocks, "{bytes:?}");
        }
    }

    /// A medium without a page cache: it gives whole blocks only.
    struct Direct(Vec<u8>);

    impl BlockDevice for Direct {
        fn block_size(&self) -> u32 {
            4096
        }

        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            let is_whole = offset.is_multiple_of(4096) && buf.len().is_multiple_of(4096);
            assert!(is_whole, "{} bytes at {offset}", buf.len());
            buf.copy_from_slice(&self.0[offset as usize..][..buf.len()]);
            Ok(())
        }

        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_source_of_any_bytes_is_read_in_whole_blocks() {
        let image: Vec<u8> = payload_tools::testing::noise(1, 40 * 4096);
        let root = Hash::of(b"");
        let head = Head::encode((&root, image.len() as u64), (&root, 4096), &[(Kind::Zero, 0)]);
        let head = Head::parse(&head, head.len() as u64).unwrap();
        let (device, offset) = (Direct([&[0; 8192], &image[..]].concat()), 8192);
        let delta = Delta::new(&head, Partition { role: Role::Root, device: &device, offset });
        let ranges = [5000..5001, 4000..9000, 0..4096, 12288..100_001, 163_839..163_840];
        let whole = ranges.clone().map(|range| image[range].to_vec()).concat();
        let ranges = ranges.map(|range| range.start as u64..range.end as u64);
        for blocks in [1, 2, 3, 7, 40] {
            let mut source: Vec<u8> = Vec::new();
            let mut take = |piece: &[u8]| {
                source.extend(piece);
                Ok::<_, Infallible>(())
            };
            let mut scratch = vec![0; blocks * 4096];
            let Ok(()) = delta.read_source(&ranges, &mut scratch, &mut take).unwrap();
            assert!(source == whole, "{blocks} blocks of room");
        }
    }

    #[test]
    fn a_source_comes_in_fillings_of_its_room() {
        let mib = |n: u64| n << 20;
        let ranges = [mib(9)..mib(10), mib(1)..mib(7), 0..4096];
        let expected = [vec![mib(9)..mib(10), mib(1)..mib(4)], vec![mib(4)..mib(7), 0..4096]];
        assert_eq!(fillings(&ranges, mib(4)), expected);
        assert_eq!(fillings(&ranges[..1], mib(1)), [ranges[..1].to_vec()]);
        assert!(fillings(&[], mib(4)).is_empty());
        // Bytes of three blocks and of two, which would not fit together.
        let odd = [4095..8193, 8193..8194, 8195..12289];
        assert_eq!(fillings(&odd, 16384), [&odd[..2], &odd[2..]]);
        let long = 100..5000;
        let cut = [100..4096, 4096..5000].map(|piece| std::iter::once(piece).collect::<Vec<_>>());
        assert_eq!(fillings(std::slice::from_ref(&long), 4096), cut);
    }
}
