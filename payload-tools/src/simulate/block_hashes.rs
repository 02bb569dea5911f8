//! What a scheme without deltas costs that hashes blocks of 4 KiB, to compare with.

use std::collections::HashSet;
use std::num::NonZero;

use super::SimulateError;
use crate::delta::Advance;
use crate::format::seekable::{FrameEncoder, segment_count, segment_range};
use crate::format::{BLOCK, Hash, SEGMENT};
use crate::{ReadAt, workers};

/// Bytes of a hash in the list that a device fetches.
const HASH_LEN: u64 = 32;

/// Enough of a block's hash to tell it from any other of two images.
type Digest = [u8; 16];

/// An image, its bytes, and what it is called.
type Named<'a> = (&'a dyn ReadAt, u64, &'static str);

/// Bytes that such a scheme fetches: a hash for each block of the new image, and once each block that the
/// old one has nowhere. Those of a segment are compressed together: more than any has that fetches blocks
/// one by one.
pub fn block_hashes(
    (old, old_size): (&dyn ReadAt, u64),
    (new, new_size): (&dyn ReadAt, u64),
    level: i32,
    threads: NonZero<usize>,
    advance: &Advance<'_>,
) -> Result<u64, SimulateError> {
    let (old, new) = ((old, old_size, "old"), (new, new_size, "new"));
    // Nobody fetches zeroes.
    let mut known = HashSet::from([digest(&[0; BLOCK])]);
    each_segment(old, threads, advance, |_, digests| known.extend(digests))?;
    let mut missing = Vec::new();
    each_segment(new, threads, advance, |_, digests| {
        let of_segment: Vec<bool> =
            digests.into_iter().map(|digest| known.insert(digest)).collect();
        missing.push(of_segment);
    })?;
    let mut fetched = 0;
    let tools = || Ok((FrameEncoder::new(level)?, vec![0; SEGMENT]));
    let make = |(encoder, buffer): &mut (FrameEncoder, Vec<u8>), index: u64| {
        let missing = &missing[index as usize];
        let segment = read(new, index, buffer)?;
        advance(segment.len() as u64);
        let blocks = segment.chunks(BLOCK).zip(missing).filter(|(_, missing)| **missing);
        let blocks: Vec<u8> = blocks.flat_map(|(block, _)| block).copied().collect();
        if blocks.is_empty() { Ok(0) } else { Ok(encoder.encode(&blocks)?.len() as u64) }
    };
    let parts = (threads, segment_count(new_size));
    workers::in_order(parts, tools, make, |_, bytes| {
        fetched += bytes;
        Ok::<_, SimulateError>(())
    })?;
    Ok(new_size.div_ceil(BLOCK as u64) * HASH_LEN + fetched)
}

/// Gives the digests of each segment's blocks to `take`, in order.
fn each_segment(
    image: Named<'_>,
    threads: NonZero<usize>,
    advance: &Advance<'_>,
    mut take: impl FnMut(u64, Vec<Digest>) + Send,
) -> Result<(), SimulateError> {
    let make = |buffer: &mut Vec<u8>, index| {
        let segment = read(image, index, buffer)?;
        advance(segment.len() as u64);
        Ok(segment.chunks(BLOCK).map(digest).collect::<Vec<_>>())
    };
    let parts = (threads, segment_count(image.1));
    workers::in_order(
        parts,
        || Ok(vec![0; SEGMENT]),
        make,
        |index, digests| {
            take(index, digests);
            Ok::<_, SimulateError>(())
        },
    )
}

fn read<'b>(
    (image, size, name): Named<'_>,
    index: u64,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], SimulateError> {
    let range = segment_range(size, index);
    let segment = &mut buffer[..(range.end - range.start) as usize];
    image
        .fill_at(segment, range.start)
        .map_err(|source| SimulateError::Read { image: name, source })?;
    Ok(segment)
}

fn digest(block: &[u8]) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(&Hash::of(block).as_bytes()[..16]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[track_caller]
    fn check(old: &[u8], new: &[u8], blocks_fetched: usize) {
        let threads = NonZero::new(2).unwrap();
        let (old, new) =
            ((&old as &dyn ReadAt, old.len() as u64), (&new as &dyn ReadAt, new.len() as u64));
        let bytes = block_hashes(old, new, 3, threads, &|_| ()).unwrap();
        let list = new.1 / BLOCK as u64 * HASH_LEN;
        let fetched = bytes - list;
        let noise = (blocks_fetched * BLOCK) as u64;
        assert!((noise..=noise + noise / 50).contains(&fetched), "{fetched} of {noise}");
    }

    #[test]
    fn blocks_that_are_somewhere_or_came_before_are_not_fetched() {
        let (a, b, c) = (noise(1, 3 * BLOCK), noise(2, BLOCK), noise(3, SEGMENT));
        let zeroes = vec![0; 2 * BLOCK];
        let old = [&a[..], &c].concat();
        check(&old, &old, 0);
        check(&old, &[&c[..], &zeroes, &a].concat(), 0);
        check(&old, &[&b[..], &c, &b, &a[..BLOCK]].concat(), 1);
        // Moved by a byte nothing is as it was.
        check(&old, &[&[1], &c[..SEGMENT - 1]].concat(), SEGMENT / BLOCK);
    }
}
