//! What a zstd frame says about its content (RFC 8878): matches, and where blocks end.

use super::CodecError;
use super::tables::{self, Code};

/// Most bytes of content that is looked at.
pub(super) const CONTENT_MAX: usize = super::BLOCK_MAX;
/// Most blocks of a frame: zstd makes them of 1 KiB and more where it has the choice.
pub(super) const BLOCKS_MAX: usize = 2 << 10;
/// Bytes of the shortest match.
const MATCH_MIN: usize = 3;
/// Most matches of a frame.
pub(super) const MATCHES_MAX: usize = CONTENT_MAX / MATCH_MIN;

/// Bytes of the content that are those of `offset` bytes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub start: u32,
    pub len: u32,
    pub offset: u32,
}

impl Match {
    pub fn end(self) -> u32 {
        self.start + self.len
    }
}

/// The matches of a frame and the ends of its blocks, both in the order of the content. Neither
/// list ever grows beyond the memory it began with.
pub(super) struct Sequences {
    pub matches: Vec<Match>,
    pub ends: Vec<u32>,
    /// Whether some offset is written in full although it was in use, as faster levels do.
    pub in_full: bool,
    /// Matches, by number, whose offset is so although it was the latest.
    pub latest_in_full: Vec<u32>,
    codes: [Code; 3],
}

impl Sequences {
    pub fn new() -> Self {
        Self {
            matches: Vec::with_capacity(MATCHES_MAX),
            ends: Vec::with_capacity(BLOCKS_MAX),
            in_full: false,
            latest_in_full: Vec::with_capacity(BLOCKS_MAX),
            codes: tables::codes(),
        }
    }

    /// Reads those of `frame`, which holds `content` bytes.
    pub fn read(&mut self, frame: &[u8], content: usize) -> Result<(), CodecError> {
        if content > CONTENT_MAX {
            return Err(CodecError::Unsupported);
        }
        self.matches.clear();
        self.ends.clear();
        self.latest_in_full.clear();
        self.codes.iter_mut().for_each(Code::forget);
        let content = content as u64;
        let (recent, latest) = ([1, 4, 8], Latest::new());
        let mut place = Place { at: 0, content, recent, latest, in_full: false };
        let mut bytes = Bytes(skip_header(frame)?);
        loop {
            let header = bytes.number(3)?;
            let (last, size) = (header & 1 != 0, header >> 3);
            match header >> 1 & 3 {
                // As it is, and one byte again and again.
                0 => place.skip(bytes.take(size)?.len() as u64)?,
                1 => {
                    bytes.take(1)?;
                    place.skip(size as u64)?;
                }
                2 => self.block(&mut Bytes(bytes.take(size)?), &mut place)?,
                _ => return Err(CodecError::Block),
            }
            if self.ends.len() >= BLOCKS_MAX {
                return Err(CodecError::Unsupported);
            }
            self.ends.push(place.at as u32);
            if last {
                self.in_full = place.in_full;
                let whole = bytes.0.is_empty() && place.at == place.content;
                return if whole { Ok(()) } else { Err(CodecError::Block) };
            }
        }
    }

    fn block(&mut self, bytes: &mut Bytes<'_>, place: &mut Place) -> Result<(), CodecError> {
        let mut literals = skip_literals(bytes)?;
        let count = match bytes.number(1)? {
            few @ 0..128 => few,
            some @ 128..255 => ((some - 128) << 8) + bytes.number(1)?,
            _ => bytes.number(2)? + 0x7F00,
        };
        if count > 0 {
            let modes = bytes.number(1)?;
            if modes & 3 != 0 {
                return Err(CodecError::Block);
            }
            for (code, shift) in self.codes.iter_mut().zip([6, 4, 2]) {
                code.read((modes >> shift & 3) as u8, bytes)?;
            }
            self.matches(count, bytes.0, &mut literals, place)?;
        } else if !bytes.0.is_empty() {
            return Err(CodecError::Block);
        }
        place.skip(literals)
    }

    fn matches(
        &mut self,
        count: usize,
        stream: &[u8],
        literals: &mut u64,
        place: &mut Place,
    ) -> Result<(), CodecError> {
        let mut bits = Backwards::new(stream)?;
        let [lens, offsets, matches] = self.codes.each_ref().map(Code::table);
        let mut states = [0; 3];
        for (state, table) in states.iter_mut().zip([lens, offsets, matches]) {
            *state = bits.take(table.log)?;
        }
        for left in (0..count).rev() {
            let [skipped, offset, len] =
                [(lens, 0), (offsets, 1), (matches, 2)].map(|(table, at)| table.at(states[at]));
            // The extra bits stand in this order.
            let offset = bits.value(tables::offset(offset.symbol))?;
            let len = bits.value(tables::match_len(len.symbol))?;
            let skipped = bits.value(tables::literals_len(skipped.symbol))?;
            *literals = literals.checked_sub(skipped).ok_or(CodecError::Block)?;
            place.skip(skipped)?;
            let in_full = offset > RECENT;
            let offset = place.offset(offset, skipped == 0)?;
            if place.latest.is_next(offset as u32, skipped == 0, !in_full) && in_full {
                // One too many is one that cannot be made.
                if self.latest_in_full.len() < BLOCKS_MAX {
                    self.latest_in_full.push(self.matches.len() as u32);
                }
            }
            if self.matches.len() >= MATCHES_MAX {
                return Err(CodecError::Block);
            }
            let found = Match { start: place.at as u32, len: len as u32, offset: offset as u32 };
            self.matches.push(found);
            place.skip(len)?;
            if left > 0 {
                for (table, at) in [(lens, 0), (matches, 2), (offsets, 1)] {
                    let entry = table.at(states[at]);
                    states[at] = u64::from(entry.base) + bits.take(entry.bits)?;
                }
            }
        }
        if bits.left == 0 { Ok(()) } else { Err(CodecError::Block) }
    }
}

/// What stands for the offsets that were used last is at most this, and others are this more.
const RECENT: u64 = 3;

/// The offsets that were used last, as faster levels know them: at first only one.
pub(super) struct Latest([u32; 2]);

impl Latest {
    pub fn new() -> Self {
        Self([1, 0])
    }

    /// Notes an offset; whether it is the one that such a level has no need to write in full. If it
    /// does so all the same, it is not `told` to be that.
    pub fn is_next(&mut self, offset: u32, no_literals: bool, told: bool) -> bool {
        let place = usize::from(no_literals);
        let found = self.0[place] == offset;
        if found && told {
            self.0[..=place].rotate_right(1);
        } else {
            self.0 = [offset, self.0[0]];
        }
        found
    }
}

/// Where in the content, and the offsets that were used last.
struct Place {
    at: u64,
    content: u64,
    recent: [u64; 3],
    latest: Latest,
    in_full: bool,
}

impl Place {
    fn skip(&mut self, len: u64) -> Result<(), CodecError> {
        self.at += len;
        if self.at > self.content { Err(CodecError::Block) } else { Ok(()) }
    }

    /// The offset that `value` stands for.
    fn offset(&mut self, value: u64, no_literals: bool) -> Result<u64, CodecError> {
        let recent = &mut self.recent;
        let which =
            if value > RECENT { 3 } else { (value - 1) as usize + usize::from(no_literals) };
        let offset = match which {
            3 if value > RECENT => value - RECENT,
            3 => recent[0] - 1,
            which => recent[which],
        };
        self.in_full |= value > RECENT && recent.contains(&offset);
        recent[..=which.min(2)].rotate_right(1);
        recent[0] = offset;
        if (1..=self.at).contains(&offset) { Ok(offset) } else { Err(CodecError::Block) }
    }
}

/// What follows the header of a frame without a dictionary and a checksum.
fn skip_header(frame: &[u8]) -> Result<&[u8], CodecError> {
    let mut bytes = Bytes(frame.strip_prefix(&super::zstd::MAGIC).ok_or(CodecError::Block)?);
    let descriptor = bytes.number(1)?;
    // Reserved, a checksum, a dictionary.
    if descriptor & 0b1111 != 0 {
        return Err(CodecError::Block);
    }
    let single = descriptor >> 5 & 1;
    let size = [single, 2, 4, 8][descriptor >> 6];
    bytes.take(1 - single + size)?;
    Ok(bytes.0)
}

/// How many literals a block has; `bytes` is left behind them.
fn skip_literals(bytes: &mut Bytes<'_>) -> Result<u64, CodecError> {
    let &first = bytes.0.first().ok_or(CodecError::Block)?;
    let (kind, format) = (first & 3, first >> 2 & 3);
    if kind < 2 {
        let (header, shift) = [(1, 3), (2, 4), (1, 3), (3, 4)][usize::from(format)];
        let len = bytes.number(header)? >> shift;
        bytes.take(if kind == 0 { len } else { 1 })?;
        return Ok(len as u64);
    }
    let (header, width) = [(3, 10), (3, 10), (4, 14), (5, 18)][usize::from(format)];
    let sizes = bytes.number(header)? >> 4;
    bytes.take(sizes >> width)?;
    Ok((sizes & ((1 << width) - 1)) as u64)
}

/// Takes bytes off the start.
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(CodecError::Block)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of at most five bytes, the lowest first.
    pub fn number(&mut self, len: usize) -> Result<usize, CodecError> {
        let bytes = self.take(len)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }
}

/// Takes bits off the end.
struct Backwards<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Backwards<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, CodecError> {
        // The last byte has a bit above the first one, as a mark.
        let last = bytes.last().and_then(|last| last.checked_ilog2()).ok_or(CodecError::Block)?;
        Ok(Self { bytes, left: (bytes.len() - 1) * 8 + last as usize })
    }

    /// At most 32 bits.
    fn take(&mut self, count: u8) -> Result<u64, CodecError> {
        self.left = self.left.checked_sub(count.into()).ok_or(CodecError::Block)?;
        let bytes = &self.bytes[self.left / 8..];
        let mut eight = [0; 8];
        let len = bytes.len().min(8);
        eight[..len].copy_from_slice(&bytes[..len]);
        Ok(u64::from_le_bytes(eight) >> (self.left % 8) & ((1 << count) - 1))
    }

    /// A number of which a code says the lowest value, and how many bits are added to it.
    fn value(&mut self, (base, bits): (u32, u8)) -> Result<u64, CodecError> {
        Ok(u64::from(base) + self.take(bits)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::delta::codec::tests::contents;

    /// Whether each match is one, they are in order, and no block's end is within one.
    fn check(found: &Sequences, content: &[u8]) {
        let mut at = 0;
        for found in &found.matches {
            let [start, end, offset] = [found.start, found.end(), found.offset].map(|n| n as usize);
            assert!(at <= start && start + MATCH_MIN <= end);
            for place in start..end {
                assert_eq!(content[place], content[place - offset]);
            }
            at = end;
        }
        assert_eq!(found.ends.last().map(|&end| end as usize), Some(content.len()));
        for end in &found.ends {
            assert!(found.matches.iter().all(|found| found.start >= *end || found.end() <= *end));
        }
    }

    #[test]
    fn sequences_are_those_of_the_content() {
        let mut found = Sequences::new();
        let (mut blocks, mut matches) = (0, 0);
        for content in contents() {
            let content = &content[..content.len().min(CONTENT_MAX)];
            for level in [-5, 1, 3, 5, 7, 9, 12, 13, 15, 17, 19, 22] {
                let frame = ::zstd::bulk::compress(content, level).unwrap();
                found.read(&frame, content.len()).unwrap();
                check(&found, content);
                (blocks, matches) = (blocks + found.ends.len(), matches + found.matches.len());
            }
        }
        // There was something to look at.
        assert!(blocks > 100 && matches > 100_000, "{blocks} blocks, {matches} matches");
    }

    /// RFC 8878, 3.1.1.5.
    #[test]
    fn recent_offsets_are_known() {
        let place = |value, no_literals| {
            let (recent, latest) = ([5, 6, 8], Latest::new());
            let mut place = Place { at: 100, content: 100, recent, latest, in_full: false };
            place.offset(value, no_literals).map(|offset| (offset, place.recent, place.in_full))
        };
        assert_eq!(place(1, false), Ok((5, [5, 6, 8], false)));
        assert_eq!(place(2, false), Ok((6, [6, 5, 8], false)));
        assert_eq!(place(3, false), Ok((8, [8, 5, 6], false)));
        assert_eq!(place(1, true), Ok((6, [6, 5, 8], false)));
        assert_eq!(place(2, true), Ok((8, [8, 5, 6], false)));
        assert_eq!(place(3, true), Ok((4, [4, 5, 6], false)));
        assert_eq!(place(103, false), Ok((100, [100, 5, 6], false)));
        assert_eq!(place(11, false), Ok((8, [8, 5, 6], true)));
        assert_eq!(place(104, false), Err(CodecError::Block));
    }

    #[test]
    fn other_frames_are_refused() {
        let mut found = Sequences::new();
        let content = &contents()[0][..100_000];
        let frame = ::zstd::bulk::compress(content, 15).unwrap();
        let mut refuses = |frame: &[u8], content| {
            assert_eq!(found.read(frame, content), Err(CodecError::Block));
        };
        refuses(&frame, 99_999);
        refuses(&frame, 100_001);
        refuses(&[frame.as_slice(), &[0]].concat(), 100_000);
        for len in 0..frame.len().min(3000) {
            refuses(&frame[..len], 100_000);
        }
        assert_eq!(found.read(&frame, CONTENT_MAX + 1), Err(CodecError::Unsupported));
    }
}
