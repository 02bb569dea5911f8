//! What differs between two encoders' views of the same content: matches, and where blocks end.
//!
//! ```text
//! edits:   number of blocks, the lengths of all but the last; or 0: the encoder's own blocks
//!          in full (kinds from 16 on): number of matches, their numbers in all as differences
//!          number of edits, each: how many of the encoder's matches are kept
//!                                 how many are added * 4, + how many go (3: and a number more)
//!                                 those that are added
//! added:   [0xFF,] gap since the last match * 32 + length - 3, [the rest of either,] [offset]
//! ```
//!
//! The encoder's matches that begin before the last added one ends go in any case. An offset is told
//! behind 0xFF only, which few matches need: most have the one that [`Guess`] says.

use zstd_sys::ZSTD_Sequence;

use super::CodecError;
use super::sequences::{BLOCKS_MAX, Latest, MATCHES_MAX, Match, Sequences};
use super::zstd::LATEST;
use crate::format::delta::varint::{self, Reader};

/// Length of the shortest match.
const MATCH_MIN: u32 = 3;
/// How a match begins: three bits for the gap before it, five for its length, each with a value that
/// says that a number follows. One value of the latter is never used.
const LEN_BITS: u32 = 5;
const LEN_MASK: u32 = (1 << LEN_BITS) - 1;
const LEN_MORE: u32 = LEN_MASK - 1;
const GAP_MORE: u32 = 7;
/// Before a match whose offset is told.
const TOLD: u8 = 0xFF;
/// Bytes that are compared in guessing offsets, for each byte of the content.
const COMPARED_MAX: u64 = 512;

/// The sequences that zstd is given. No list ever grows beyond the memory it began with.
pub(super) struct Given {
    sequences: Vec<ZSTD_Sequence>,
    ends: Vec<u32>,
    in_full: Vec<u32>,
}

impl Given {
    pub fn new() -> Self {
        Self {
            sequences: Vec::with_capacity(MATCHES_MAX + BLOCKS_MAX),
            ends: Vec::with_capacity(BLOCKS_MAX),
            in_full: Vec::with_capacity(BLOCKS_MAX),
        }
    }

    /// Those of the encoder at hand, edited as `fix` says. Offsets that are in use are left to zstd,
    /// for `resolve`; else the latest are told as faster levels of it do.
    pub fn edit(
        &mut self,
        own: &Sequences,
        resolve: bool,
        content: &[u8],
        fix: &mut Reader<'_>,
    ) -> Result<&[ZSTD_Sequence], CodecError> {
        self.read_ends(own, content.len() as u32, fix)?;
        self.in_full.clear();
        if !resolve {
            read_list(fix.number()?, &mut self.in_full, fix)?;
        }
        self.sequences.clear();
        let mut list = List {
            ends: &self.ends,
            out: &mut self.sequences,
            at: 0,
            guess: Guess::new(content),
            resolve,
            latest: Latest::new(),
            in_full: &self.in_full,
            matches: 0,
        };
        let mut left = own.matches.as_slice();
        for _ in 0..fix.number()? {
            let kept = short(fix)? as usize;
            let (same, rest) = left.split_at_checked(kept).ok_or(CodecError::FixUp)?;
            same.iter().try_for_each(|&found| list.push(found))?;
            let number = fix.number()?;
            let more = match number & 3 {
                3 => u64::from(short(fix)?) + 3,
                few => few,
            };
            for _ in 0..number >> 2 {
                let found = list.read_added(fix)?;
                list.push(found)?;
            }
            let over = rest.iter().take_while(|own| own.start < list.at).count();
            left = rest[over..].get(more as usize..).ok_or(CodecError::FixUp)?;
        }
        left.iter().try_for_each(|&found| list.push(found))?;
        list.finish()?;
        Ok(&self.sequences)
    }

    fn read_ends(
        &mut self,
        own: &Sequences,
        content: u32,
        fix: &mut Reader<'_>,
    ) -> Result<(), CodecError> {
        self.ends.clear();
        let blocks = fix.number()?;
        if blocks == 0 {
            // As many as there is memory for, or they would not have been read.
            self.ends.extend(own.ends.iter().take(BLOCKS_MAX));
        } else {
            read_list(blocks - 1, &mut self.ends, fix)?;
            self.ends.push(content);
        }
        Ok(())
    }
}

/// Reads numbers in rising order, each as the difference to the one before, and fewer than there is
/// memory for.
fn read_list(count: u64, list: &mut Vec<u32>, fix: &mut Reader<'_>) -> Result<(), CodecError> {
    if count >= BLOCKS_MAX as u64 {
        return Err(CodecError::FixUp);
    }
    let mut at = 0u32;
    for _ in 0..count {
        at = at.checked_add(short(fix)?).ok_or(CodecError::FixUp)?;
        list.push(at);
    }
    Ok(())
}

fn put_list(list: &[u32], out: &mut Vec<u8>) {
    let mut at = 0;
    for &number in list {
        varint::put((number - at).into(), out);
        at = number;
    }
}

fn short(fix: &mut Reader<'_>) -> Result<u32, CodecError> {
    u32::try_from(fix.number()?).map_err(|_| CodecError::FixUp)
}

/// Writes sequences: what stands before each match, and a mark at the end of each block.
struct List<'a> {
    ends: &'a [u32],
    out: &'a mut Vec<ZSTD_Sequence>,
    at: u32,
    guess: Guess<'a>,
    resolve: bool,
    latest: Latest,
    /// Numbers of matches whose offset is written in full though it is the latest.
    in_full: &'a [u32],
    matches: u32,
}

impl<'a> List<'a> {
    /// One match that the encoder at hand does not have, and which is to come next.
    fn read_added(&mut self, fix: &mut Reader<'_>) -> Result<Match, CodecError> {
        let mut code = fix.bytes(1)?[0];
        let told = code == TOLD;
        if told {
            code = fix.bytes(1)?[0];
        }
        let code = u32::from(code);
        let mut part = |value: u32, more: u32| {
            let rest = if value >= more { short(fix)? } else { 0 };
            value.checked_add(rest).ok_or(CodecError::FixUp)
        };
        let gap = part(code >> LEN_BITS, GAP_MORE)?;
        let len = part(code & LEN_MASK, LEN_MORE)?;
        let start = self.at.checked_add(gap).ok_or(CodecError::FixUp)?;
        let len = len.checked_add(MATCH_MIN).ok_or(CodecError::FixUp)?;
        let offset = if told { short(fix)? } else { self.guess.offset(start, len) };
        Ok(Match { start, len, offset })
    }

    fn put(&mut self, start: u32, len: u32, offset: u32) -> Result<(), CodecError> {
        let literals = start.checked_sub(self.at).ok_or(CodecError::FixUp)?;
        self.at = start.checked_add(len).ok_or(CodecError::FixUp)?;
        // It must not grow.
        if self.out.len() >= MATCHES_MAX + BLOCKS_MAX {
            return Err(CodecError::FixUp);
        }
        let mut offset = offset;
        if !self.resolve && len > 0 {
            let in_full = self.in_full.first() == Some(&self.matches);
            self.in_full = &self.in_full[usize::from(in_full)..];
            if self.latest.is_next(offset, literals == 0, !in_full) && !in_full {
                offset = LATEST;
            }
        }
        self.matches += u32::from(len > 0);
        self.out.push(ZSTD_Sequence { offset, litLength: literals, matchLength: len, rep: 0 });
        Ok(())
    }

    fn push(&mut self, found: Match) -> Result<(), CodecError> {
        while let Some((&end, rest)) = self.ends.split_first()
            && end <= found.start
        {
            self.put(end, 0, 0)?;
            self.ends = rest;
        }
        self.guess.note(found.offset);
        self.put(found.start, found.len, found.offset)
    }

    fn finish(mut self) -> Result<(), CodecError> {
        std::mem::take(&mut self.ends).iter().try_for_each(|&end| self.put(end, 0, 0))
    }
}

/// The edits that make `wanted` of `own`.
pub(super) fn between(own: &Sequences, wanted: &Sequences, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if own.ends == wanted.ends {
        varint::put(0, &mut out);
    } else {
        varint::put(wanted.ends.len() as u64, &mut out);
        put_list(&wanted.ends[..wanted.ends.len() - 1], &mut out);
    }
    if wanted.in_full {
        varint::put(wanted.latest_in_full.len() as u64, &mut out);
        put_list(&wanted.latest_in_full, &mut out);
    }
    let (mut left, mut want) = (own.matches.as_slice(), wanted.matches.as_slice());
    let (mut edits, mut bytes, mut at) = (0, Vec::new(), 0);
    let mut guess = Guess::new(content);
    loop {
        let kept = left.iter().zip(want).take_while(|(own, wanted)| own == wanted).count();
        for found in &left[..kept] {
            guess.note(found.offset);
            at = found.end();
        }
        (left, want) = (&left[kept..], &want[kept..]);
        if left.is_empty() && want.is_empty() {
            break;
        }
        let (dropped, added) = until_equal(left, want);
        varint::put(kept as u64, &mut bytes);
        let place = bytes.len();
        for &found in &want[..added] {
            put_added(found, at, &mut guess, &mut bytes);
            at = found.end();
        }
        let over = left.iter().take_while(|own| own.start < at).count();
        let more = dropped - over;
        let mut numbers = Vec::new();
        varint::put((added as u64) << 2 | more.min(3) as u64, &mut numbers);
        if more >= 3 {
            varint::put(more as u64 - 3, &mut numbers);
        }
        bytes.splice(place..place, numbers);
        (left, want) = (&left[dropped..], &want[added..]);
        edits += 1;
    }
    varint::put(edits, &mut out);
    out.extend(bytes);
    out
}

fn put_added(found: Match, at: u32, guess: &mut Guess<'_>, out: &mut Vec<u8>) {
    let (gap, len) = (found.start - at, found.len - MATCH_MIN);
    let guessed = guess.offset(found.start, found.len);
    if guessed != found.offset {
        out.push(TOLD);
    }
    out.push((gap.min(GAP_MORE) << LEN_BITS | len.min(LEN_MORE)) as u8);
    if gap >= GAP_MORE {
        varint::put((gap - GAP_MORE).into(), out);
    }
    if len >= LEN_MORE {
        varint::put((len - LEN_MORE).into(), out);
    }
    if guessed != found.offset {
        varint::put(found.offset.into(), out);
    }
    guess.note(found.offset);
}

/// How many are to go from either until both go on with the same.
fn until_equal(own: &[Match], wanted: &[Match]) -> (usize, usize) {
    let (mut left, mut right) = (0, 0);
    while let (Some(own), Some(wanted)) = (own.get(left), wanted.get(right)) {
        match own.start.cmp(&wanted.start) {
            _ if own == wanted => return (left, right),
            std::cmp::Ordering::Less => left += 1,
            std::cmp::Ordering::Greater => right += 1,
            std::cmp::Ordering::Equal => (left, right) = (left + 1, right + 1),
        }
    }
    (own.len(), wanted.len())
}

/// Tells the offset of a match by its place and length: the one in use, or the nearest that there is,
/// as encoders choose.
struct Guess<'a> {
    content: &'a [u8],
    recent: [u32; 3],
    left: u64,
}

impl<'a> Guess<'a> {
    fn new(content: &'a [u8]) -> Self {
        Self { content, recent: [1, 4, 8], left: content.len() as u64 * COMPARED_MAX }
    }

    /// What the next match of all has.
    fn note(&mut self, offset: u32) {
        let place = self.recent.iter().position(|&recent| recent == offset).unwrap_or(2);
        self.recent[..=place].rotate_right(1);
        self.recent[0] = offset;
    }

    /// 0 if there is none, or none is found for as many bytes as may be compared.
    fn offset(&mut self, start: u32, len: u32) -> u32 {
        let at = start as usize;
        let Some(wanted) = self.content.get(at..).and_then(|rest| rest.get(..len as usize)) else {
            return 0;
        };
        if let Some(recent) = self.recent.into_iter().find(|&recent| self.is_at(at, recent, wanted))
        {
            return recent;
        }
        (1..=start).find(|&offset| self.left == 0 || self.is_at(at, offset, wanted)).unwrap_or(0)
            * u32::from(self.left > 0)
    }

    fn is_at(&mut self, at: usize, offset: u32, wanted: &[u8]) -> bool {
        let from = at.checked_sub(offset as usize).filter(|_| self.left > 0);
        let Some(from) = from.and_then(|from| self.content.get(from..)) else { return false };
        let same = from.iter().zip(wanted).take_while(|(is, wanted)| is == wanted).count();
        self.left = self.left.saturating_sub(same as u64 + 1);
        same == wanted.len()
    }
}
