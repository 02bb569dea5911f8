//! What the old image holds, found by content: places where a rolling hash of
//! 32 bytes says so, and whole blocks.

use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::format::{BLOCK, SEGMENT};
use crate::{ReadAt, workers};

/// Most places of an index, 256 MiB; larger images are sampled more thinly.
const PLACES_MAX: usize = 1 << 25;
/// Places are at least so many bytes apart: runs of one byte would fill the index.
const APART: usize = 16;
/// Bytes that the rolling hash depends on.
pub(super) const WINDOW: usize = 32;
/// A content with more places than this tells nothing.
const COMMON: usize = 8;
/// The table of where hashes with the same first bits begin.
const BUCKET_BITS: u32 = 20;

/// Places of an old image by their content.
#[derive(Debug)]
pub(super) struct Index {
    pack: Pack,
    sampling: Sampling,
    /// Packed (hash, place), sorted.
    places: Vec<u64>,
    /// Packed (hash, block), sorted.
    blocks: Vec<u64>,
    buckets: Vec<u32>,
}

/// A hash in the high bits and a place in the low ones.
#[derive(Debug, Clone, Copy)]
struct Pack {
    place_bits: u32,
}

impl Pack {
    fn of(size: u64) -> Self {
        Self { place_bits: 64 - size.leading_zeros() }
    }

    fn pack(self, hash: u64, place: u64) -> u64 {
        hash >> self.place_bits << self.place_bits | place
    }

    fn place(self, packed: u64) -> u64 {
        packed & ((1 << self.place_bits) - 1)
    }
}

/// Which places are looked at: those whose hash has this many leading zeroes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampling {
    zeroes: u32,
}

impl Sampling {
    /// About one place in 64 bytes, or fewer where that would be too many.
    pub fn of(size: u64) -> Self {
        let mut zeroes = 6;
        while size >> zeroes > PLACES_MAX as u64 / 2 {
            zeroes += 1;
        }
        Self { zeroes }
    }

    /// About so many places are in this many bytes.
    pub fn places_in(self, bytes: u32) -> u32 {
        bytes.checked_shr(self.zeroes).unwrap_or_default()
    }

    /// Calls `each` with where the window of a place ends, and its hash.
    pub fn places(self, bytes: &[u8], mut each: impl FnMut(usize, u64)) {
        let (mut hash, mut last) = (0u64, 0);
        for (end, byte) in (1..).zip(bytes) {
            // A byte has left the hash after 32 others.
            hash = (hash << 2).wrapping_add(GEAR[usize::from(*byte)]);
            if hash >> (64 - self.zeroes) == 0 && end >= WINDOW && end >= last + APART {
                last = end;
                each(end, mix(hash));
            }
        }
    }
}

impl Index {
    /// Reads the whole old image.
    pub fn build(
        old: &dyn ReadAt,
        size: u64,
        threads: NonZero<usize>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> io::Result<Self> {
        let (pack, sampling) = (Pack::of(size), Sampling::of(size));
        let (places, blocks) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let next = AtomicU64::new(0);
        workers::run(threads, || -> io::Result<()> {
            // Pieces overlap by a window, so that no place between two is missed.
            let mut buffer = vec![0; SEGMENT + WINDOW];
            loop {
                let start = next.fetch_add(SEGMENT as u64, Ordering::Relaxed);
                if start >= size {
                    return Ok(());
                }
                let len = (size - start).min(SEGMENT as u64) as usize;
                let before = start.min(WINDOW as u64);
                let piece = &mut buffer[..len + before as usize];
                old.fill_at(piece, start - before)?;
                let mut found = Vec::with_capacity(len >> 5);
                sampling.places(piece, |end, hash| {
                    found.push(pack.pack(hash, start - before + end as u64));
                });
                let whole = piece[before as usize..].chunks_exact(BLOCK);
                let of_block = |(n, block): (u64, &[u8])| pack.pack(block_hash(block), n);
                let hashes: Vec<u64> = (start / BLOCK as u64..).zip(whole).map(of_block).collect();
                let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
                let room = PLACES_MAX.saturating_sub(places.len());
                found.truncate(room);
                places.append(&mut found);
                blocks.lock().unwrap_or_else(PoisonError::into_inner).extend(hashes);
                progress(len as u64);
            }
        })?;
        let mut places = places.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut blocks = blocks.into_inner().unwrap_or_else(PoisonError::into_inner);
        places.sort_unstable();
        places.dedup();
        blocks.sort_unstable();
        Ok(Self { pack, sampling, buckets: buckets(&places), places, blocks })
    }

    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// Where windows with this hash end; none when it is too common to tell.
    pub fn places(&self, hash: u64) -> impl Iterator<Item = u64> + '_ {
        let bucket = (hash >> (64 - BUCKET_BITS)) as usize;
        let range = self.buckets[bucket] as usize..self.buckets[bucket + 1] as usize;
        let found = self.with_hash(&self.places[range], hash);
        let found = if found.len() > COMMON { &[] } else { found };
        found.iter().map(|packed| self.pack.place(*packed))
    }

    /// A block of the old image that may have these bytes, `wished` if it is one.
    pub fn block(&self, hash: u64, wished: u64) -> Option<u64> {
        if self.blocks.binary_search(&self.pack.pack(hash, wished)).is_ok() {
            return Some(wished);
        }
        self.with_hash(&self.blocks, hash).first().map(|packed| self.pack.place(*packed))
    }

    fn with_hash<'a>(&self, sorted: &'a [u64], hash: u64) -> &'a [u64] {
        let first = self.pack.pack(hash, 0);
        let last = self.pack.pack(hash, self.pack.place(u64::MAX));
        let start = sorted.partition_point(|packed| *packed < first);
        let rest = &sorted[start..];
        &rest[..rest.partition_point(|packed| *packed <= last)]
    }
}

/// For each value of the first bits, where it begins; one more at the end.
fn buckets(sorted: &[u64]) -> Vec<u32> {
    let mut starts = vec![0u32; (1 << BUCKET_BITS) + 1];
    for packed in sorted {
        starts[(packed >> (64 - BUCKET_BITS)) as usize + 1] += 1;
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    starts
}

/// A hash of a block; whoever uses it compares the bytes.
pub(super) fn block_hash(block: &[u8]) -> u64 {
    let words = block.chunks_exact(8);
    words.fold(0, |hash: u64, word| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        mix(hash.rotate_left(5) ^ u64::from_le_bytes(bytes))
    })
}

/// Spreads bits, so that the high ones depend on all.
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    number ^ (number >> 29)
}

/// What each byte adds to the rolling hash: 256 numbers without a pattern, fixed
/// so that the same images give the same delta.
const GEAR: [u64; 256] = {
    let mut gear = [0; 256];
    let mut at = 0;
    while at < gear.len() {
        gear[at] = mix(mix(at as u64 + 1).wrapping_mul(0xBF58_476D_1CE4_E5B9));
        at += 1;
    }
    gear
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn content_is_found_wherever_it_was() {
        let old = noise(1, 3 * SEGMENT);
        let index = Index::build(&old, old.len() as u64, NonZero::<usize>::MIN, &|_| ()).unwrap();
        // Across a border of the pieces, and moved by a number that is no block's.
        let moved = &old[SEGMENT - 10_001..SEGMENT + 10_000];
        let (mut looked, mut found) = (0, 0);
        index.sampling().places(moved, |end, hash| {
            looked += 1;
            let place = (SEGMENT - 10_001 + end) as u64;
            found += usize::from(index.places(hash).any(|p| p == place));
        });
        assert!(looked > 100 && found * 10 > looked * 9, "{found} of {looked}");
    }

    #[test]
    fn blocks_are_found_and_a_wish_is_granted() {
        let mut old = noise(2, 64 * BLOCK);
        old.copy_within(BLOCK..2 * BLOCK, 40 * BLOCK);
        let index = Index::build(&old, old.len() as u64, NonZero::<usize>::MIN, &|_| ()).unwrap();
        let hash = block_hash(&old[BLOCK..2 * BLOCK]);
        assert_eq!(index.block(hash, 7), Some(1));
        assert_eq!(index.block(hash, 40), Some(40));
        assert_eq!(index.block(block_hash(&[7; BLOCK]), 0), None);
    }

    #[test]
    fn common_content_tells_nothing_and_has_few_places() {
        // A run of this byte is sampled wherever it is looked at.
        let old = vec![17; SEGMENT];
        let index = Index::build(&old, old.len() as u64, NonZero::<usize>::MIN, &|_| ()).unwrap();
        assert!((1..=SEGMENT / APART).contains(&index.places.len()), "{}", index.places.len());
        let mut looked = 0;
        index.sampling().places(&old[..8192], |_, hash| {
            looked += 1;
            assert_eq!(index.places(hash).count(), 0);
        });
        assert!(looked > 0);
    }
}
