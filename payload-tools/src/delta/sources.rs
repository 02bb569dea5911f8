//! Which blocks of the old image a segment is made from.

use std::collections::BTreeMap;
use std::ops::Range;

use super::index::{Index, WINDOW, block_hash};
use crate::format::BLOCK;

/// Blocks taken beyond the last one known to be alike, where what is alike ends.
const MARGIN: u64 = 8;
/// So many blocks, or fewer, that lie between two that are taken are taken as well, if there is room: to
/// read them costs a device less than to read once more.
const BRIDGED: u64 = 16;
/// What an alike window adds to a block's score; a block between alike ones has 1.
const ALIKE: u32 = 16;
/// Blocks that lie together are worth a place and a read if more than so many of their bytes are alike:
/// with less, the delta of a pair with another kernel had 17,205 ranges instead of 607, and 0.35 % more
/// bytes.
const RUN_MIN: u32 = 512;
/// What a wanted block has: more than all alike windows of a block together.
const WANTED: u32 = 1 << 16;

/// The ranges, in bytes, of an old image with the same blocks as the segment, if
/// each of its blocks may be there. To be compared before it is believed.
pub(super) fn same_blocks(segment: &[u8], index: &Index) -> Option<Vec<Range<u64>>> {
    let mut blocks = Vec::with_capacity(segment.len() / BLOCK);
    for block in segment.chunks_exact(BLOCK) {
        let wished = blocks.last().map_or(0, |last| last + 1);
        blocks.push(index.block(block_hash(block), wished)?);
    }
    Some(ranges(blocks))
}

/// The ranges, in bytes, of an old image of `old_size` that are most like the
/// segment, in their order there, and those of `wanted` before all others; at most
/// `most` bytes.
pub(super) fn alike(
    segment: &[u8],
    index: &Index,
    (old_size, most): (u64, usize),
    wanted: &[Range<u64>],
) -> Vec<Range<u64>> {
    let mut scores: BTreeMap<u64, u32> = BTreeMap::new();
    let blocks = old_size / BLOCK as u64;
    let mut add = |range: Range<u64>, score: u32| {
        for block in range.start..range.end.min(blocks) {
            let sum = scores.entry(block).or_default();
            *sum = sum.saturating_add(score);
        }
    };
    for range in wanted {
        add(range.start / BLOCK as u64..range.end.div_ceil(BLOCK as u64), WANTED);
    }
    let mut last: Option<(u64, u64)> = None;
    for (new, old) in pairs(segment, index) {
        add((old - WINDOW as u64) / BLOCK as u64..(old - 1) / BLOCK as u64 + 1, ALIKE);
        let block = old / BLOCK as u64;
        match last {
            Some((last_new, last_old)) => between((last_new, last_old), (new, old), &mut add),
            None => add(block.saturating_sub(MARGIN)..block, 1),
        }
        last = Some((new, old));
    }
    if let Some((_, old)) = last {
        let block = old / BLOCK as u64;
        add(block..block + MARGIN, 1);
    }
    let mut best = worth_reading(scores.into_iter().collect(), index);
    best.sort_by_key(|(block, score)| (std::cmp::Reverse(*score), *block));
    best.truncate(most / BLOCK);
    let blocks = best.into_iter().map(|(block, _)| block).collect();
    ranges(bridged(blocks, most / BLOCK))
}

/// Where in a source of these ranges bytes of the old image are, if all of them are.
pub(super) fn find(ranges: &[Range<u64>], image: &Range<u64>) -> Option<Range<usize>> {
    let mut at = 0;
    for range in ranges {
        if range.start <= image.start && image.end <= range.end {
            let start = at + (image.start - range.start) as usize;
            return Some(start..start + (image.end - image.start) as usize);
        }
        at += (range.end - range.start) as usize;
    }
    None
}

/// Of blocks in their order and their scores the runs that are worth a read, the best one in any case.
fn worth_reading(blocks: Vec<(u64, u32)>, index: &Index) -> Vec<(u64, u32)> {
    let score =
        |run: &[(u64, u32)]| run.iter().fold(0u32, |sum, (_, score)| sum.saturating_add(*score));
    let runs = || blocks.chunk_by(|one, next| one.0 + 1 == next.0);
    let best = runs().map(score).max().unwrap_or_default();
    let enough = best.min(ALIKE * index.sampling().places_in(RUN_MIN) + 1);
    runs().filter(|run| score(run) >= enough).flatten().copied().collect()
}

/// The blocks in their order, with what lies in the shortest gaps between them, as long as they are no
/// more than `most`.
fn bridged(mut blocks: Vec<u64>, most: usize) -> Vec<u64> {
    blocks.sort_unstable();
    let gap = |pair: &[u64]| pair[0] + 1..pair[1];
    let mut gaps: Vec<Range<u64>> = blocks.windows(2).map(gap).collect();
    gaps.retain(|gap| (1..=BRIDGED).contains(&(gap.end.saturating_sub(gap.start))));
    gaps.sort_by_key(|gap| gap.end - gap.start);
    let mut room = most.saturating_sub(blocks.len()) as u64;
    for gap in gaps {
        let len = gap.end - gap.start;
        if len > room {
            break;
        }
        room -= len;
        blocks.extend(gap);
    }
    blocks.sort_unstable();
    blocks
}

/// What lies between two alike places: all of it where it is as long as in the
/// segment, or else a margin at both.
fn between(
    (last_new, last_old): (u64, u64),
    (new, old): (u64, u64),
    add: &mut impl FnMut(Range<u64>, u32),
) {
    let (first, past) = (last_old / BLOCK as u64, old / BLOCK as u64);
    let gap = new - last_new;
    let slack = MARGIN * BLOCK as u64;
    if old >= last_old && old - last_old <= 2 * gap + slack {
        add(first..past + 1, 1);
        return;
    }
    let margin = (gap.div_ceil(BLOCK as u64)).min(MARGIN);
    add(first..first + margin, 1);
    add(past.saturating_sub(margin)..past, 1);
}

/// Places of the segment and of the old image with the same content. Of several
/// old ones the one that goes on from the pair before.
fn pairs(segment: &[u8], index: &Index) -> Vec<(u64, u64)> {
    let mut pairs: Vec<(u64, u64)> = Vec::new();
    index.sampling().places(segment, |end, hash| {
        let new = end as u64;
        let expected = pairs.last().map_or(0, |(last_new, old)| old + (new - last_new));
        let old = index.places(hash).min_by_key(|old| old.abs_diff(expected));
        pairs.extend(old.map(|old| (new, old)));
    });
    pairs
}

/// Neighbouring blocks as ranges in bytes.
fn ranges(blocks: Vec<u64>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for block in blocks {
        let start = block * BLOCK as u64;
        match ranges.last_mut() {
            Some(range) if range.end == start => range.end += BLOCK as u64,
            _ => ranges.push(start..start + BLOCK as u64),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;
    use crate::format::SEGMENT;
    use crate::format::delta::SOURCE_MAX;
    use crate::testing::noise;

    #[test]
    fn short_gaps_are_bridged_while_there_is_room() {
        let blocks = || vec![40, 0, 2, 5, 22, 41, 6];
        assert_eq!(bridged(blocks(), 7), [0, 2, 5, 6, 22, 40, 41]);
        assert_eq!(bridged(blocks(), 9), [0, 1, 2, 5, 6, 22, 40, 41], "the next has two blocks");
        let all: Vec<u64> = (0..=22).chain(40..42).collect();
        assert_eq!(bridged(blocks(), 100), all, "17 blocks are too many");
        assert!(bridged(Vec::new(), 10).is_empty());
    }

    /// A few bytes that happen to be elsewhere too are not worth a read of a block.
    #[test]
    fn little_that_is_alike_brings_nothing() {
        let old = noise(3, SEGMENT);
        let index = Index::build(&old, old.len() as u64, NonZero::<usize>::MIN, &|_| ()).unwrap();
        let found = |len: usize| {
            let mut segment = noise(4, SEGMENT);
            segment[9000..9000 + len].copy_from_slice(&old[300_000..300_000 + len]);
            let alike =
                |segment: &[u8]| alike(segment, &index, (old.len() as u64, SOURCE_MAX), &[]);
            let has = |range: &Range<u64>| range.contains(&300_000);
            let alone = alike(&segment).iter().any(has);
            segment[SEGMENT / 2..][..9 * BLOCK].copy_from_slice(&old[..9 * BLOCK]);
            (alone, alike(&segment).iter().any(has))
        };
        assert_eq!([found(200), found(2 * BLOCK)], [(true, false), (true, true)]);
    }

    #[test]
    fn a_moved_and_changed_file_brings_its_blocks() {
        let old = noise(3, 2 * SEGMENT);
        let index = Index::build(&old, old.len() as u64, NonZero::<usize>::MIN, &|_| ()).unwrap();
        let mut segment = noise(4, SEGMENT);
        let mut file = old[SEGMENT + 3 * BLOCK..][..50 * BLOCK].to_vec();
        file.iter_mut().step_by(500).for_each(|byte| *byte ^= 1);
        file.drain(100..103);
        segment[20 * BLOCK..][..file.len()].copy_from_slice(&file);
        let sources = alike(&segment, &index, (old.len() as u64, SOURCE_MAX), &[]);
        let file_at = (SEGMENT + 3 * BLOCK) as u64;
        let covered: u64 = sources
            .iter()
            .map(|range| {
                let end = range.end.min(file_at + 50 * BLOCK as u64);
                end.saturating_sub(range.start.max(file_at))
            })
            .sum();
        assert_eq!(covered, 50 * BLOCK as u64, "{sources:?}");
        let all: u64 = sources.iter().map(|range| range.end - range.start).sum();
        assert!(all < 90 * BLOCK as u64, "{all} bytes: {sources:?}");
    }

    #[test]
    fn blocks_in_another_order_are_the_same_blocks() {
        let old = noise(5, 64 * BLOCK);
        let index = Index::build(&old, old.len() as u64, NonZero::<usize>::MIN, &|_| ()).unwrap();
        let segment = [&old[40 * BLOCK..44 * BLOCK], &old[..2 * BLOCK]].concat();
        let block = BLOCK as u64;
        assert_eq!(same_blocks(&segment, &index), Some(vec![40 * block..44 * block, 0..2 * block]));
        assert_eq!(same_blocks(&noise(6, BLOCK), &index), None);
    }

    #[test]
    fn what_is_wanted_comes_before_what_is_alike() {
        let old = noise(7, 3 * SEGMENT);
        let index = Index::build(&old, old.len() as u64, NonZero::<usize>::MIN, &|_| ()).unwrap();
        // All of the segment is alike in the first half; wanted is some of the other.
        let segment = &old[..SEGMENT];
        let wanted = 2 * SEGMENT as u64 + 100..2 * SEGMENT as u64 + 5 * BLOCK as u64;
        let sources =
            |wanted: &[Range<u64>]| alike(segment, &index, (old.len() as u64, SOURCE_MAX), wanted);
        let whole = 2 * SEGMENT as u64..2 * SEGMENT as u64 + 5 * BLOCK as u64;
        assert!(!sources(&[]).contains(&whole));
        assert!(sources(std::slice::from_ref(&wanted)).contains(&whole));
        // Of what is too much, the wanted stays.
        let much = SEGMENT as u64..3 * SEGMENT as u64;
        let found = sources(std::slice::from_ref(&much));
        let first = SEGMENT as u64..(SEGMENT + SOURCE_MAX) as u64;
        assert_eq!((found.len(), &found[0]), (1, &first));
    }
}
