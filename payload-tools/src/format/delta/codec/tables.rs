//! The codes of a zstd block's sequences (RFC 8878, 3.1.1.3.2 and 4.1).

use super::CodecError;
use super::sequences::Bytes;

/// Entries of the longest table.
const ENTRIES: usize = 1 << 9;
/// Most symbols of a code.
const SYMBOLS: usize = 53;

/// What a state stands for, and which come next.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    pub symbol: u8,
    pub bits: u8,
    pub base: u16,
}

/// A table of `1 << log` entries.
#[derive(Clone)]
pub(super) struct Table {
    pub log: u8,
    entries: [Entry; ENTRIES],
}

impl Table {
    /// The entry of a state, of which there are as many as entries.
    pub fn at(&self, state: u64) -> Entry {
        self.entries[state as usize % ENTRIES]
    }

    fn empty() -> Self {
        Self { log: 0, entries: [Entry::default(); ENTRIES] }
    }

    /// One symbol, which takes no bits.
    fn fill_one(&mut self, symbol: u8) {
        self.log = 0;
        self.entries[0] = Entry { symbol, bits: 0, base: 0 };
    }

    /// From how often each symbol occurs, -1 being less than once; they are `1 << log` together.
    fn fill(&mut self, counts: &[i16], log: u8) -> Result<(), CodecError> {
        let size = 1usize << log;
        let entries = self.entries.get_mut(..size).ok_or(CodecError::Block)?;
        self.log = log;
        let mut next = [0u16; SYMBOLS];
        let mut rare = size;
        for (symbol, &count) in counts.iter().enumerate() {
            next[symbol] = count.unsigned_abs();
            if count < 0 {
                rare = rare.checked_sub(1).ok_or(CodecError::Block)?;
                entries[rare].symbol = symbol as u8;
            }
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut place = 0;
        for (symbol, &count) in counts.iter().enumerate() {
            for _ in 0..count {
                if place >= rare {
                    return Err(CodecError::Block);
                }
                entries[place].symbol = symbol as u8;
                // The step has no divisor in common with the size, so it comes by all places.
                place = (place + step) % size;
                while place >= rare && rare > 0 {
                    place = (place + step) % size;
                }
            }
        }
        for entry in entries {
            let next = &mut next[usize::from(entry.symbol)];
            let bits = log - next.checked_ilog2().ok_or(CodecError::Block)? as u8;
            entry.bits = bits;
            entry.base = (*next << bits) - size as u16;
            *next += 1;
        }
        Ok(())
    }
}

/// One of the three codes: its limits, and the table that is in force.
pub(super) struct Code {
    symbols: usize,
    log_max: u8,
    predefined: Table,
    table: Table,
    known: bool,
}

impl Code {
    fn new(counts: &[i16], log: u8, log_max: u8, symbols: usize) -> Self {
        let mut predefined = Table::empty();
        // Constants, as the tests show.
        let known = predefined.fill(counts, log).is_ok();
        Self { symbols, log_max, table: predefined.clone(), predefined, known }
    }

    /// At the start of a frame.
    pub fn forget(&mut self) {
        self.known = false;
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Reads what the next block has.
    pub fn read(&mut self, mode: u8, bytes: &mut Bytes<'_>) -> Result<(), CodecError> {
        match mode {
            0 => self.table.clone_from(&self.predefined),
            1 => {
                let symbol = bytes.number(1)?;
                if symbol >= self.symbols {
                    return Err(CodecError::Block);
                }
                self.table.fill_one(symbol as u8);
            }
            2 => {
                let mut counts = [0; SYMBOLS];
                let log = counts_of(&mut counts[..self.symbols], self.log_max, bytes)?;
                self.table.fill(&counts[..self.symbols], log)?;
            }
            _ if self.known => {}
            _ => return Err(CodecError::Block),
        }
        self.known = true;
        Ok(())
    }
}

/// Reads how often each symbol occurs; the table's log.
fn counts_of(counts: &mut [i16], log_max: u8, bytes: &mut Bytes<'_>) -> Result<u8, CodecError> {
    let mut bits = Forwards { bytes: bytes.0, at: 0 };
    let log = 5 + bits.take(4) as u8;
    if log > log_max {
        return Err(CodecError::Block);
    }
    let mut left = 1u32 << log;
    let mut symbol = 0;
    while left > 0 {
        // Values from 0 to left + 1, the lower of which take one bit less.
        let width = (left + 1).ilog2() as usize + 1;
        let short = (1 << width) - (left + 2);
        let half = 1 << (width - 1);
        let mut value = bits.peek(width - 1);
        bits.at += width - 1;
        if value >= short {
            let high = bits.take(1);
            value = if high == 1 { value + half - short } else { value };
        }
        let count = value as i16 - 1;
        *counts.get_mut(symbol).ok_or(CodecError::Block)? = count;
        left = left.checked_sub(count.unsigned_abs().into()).ok_or(CodecError::Block)?;
        symbol += 1;
        // How many more do not occur.
        let mut more = if count == 0 { 3 } else { 0 };
        while more == 3 && symbol <= SYMBOLS {
            more = bits.take(2);
            symbol += more as usize;
        }
    }
    bytes.take(bits.at.div_ceil(8))?;
    Ok(log)
}

/// Takes bits off the start; there are zeros behind the end.
struct Forwards<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Forwards<'_> {
    fn peek(&self, count: usize) -> u32 {
        let byte = |at: usize| self.bytes.get(self.at / 8 + at).copied().unwrap_or(0);
        let bits = u32::from_le_bytes([byte(0), byte(1), byte(2), 0]);
        bits >> (self.at % 8) & ((1 << count) - 1)
    }

    fn take(&mut self, count: usize) -> u32 {
        let bits = self.peek(count);
        self.at += count;
        bits
    }
}

/// Those of literal lengths, offsets and match lengths, in this order.
pub(super) fn codes() -> [Code; 3] {
    const LITERALS: [i16; 36] = [
        4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1,
        1, 1, -1, -1, -1, -1,
    ];
    const OFFSETS: [i16; 29] = [
        1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
    ];
    const MATCHES: [i16; 53] = [
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ];
    [
        Code::new(&LITERALS, 6, 9, LITERALS.len()),
        Code::new(&OFFSETS, 5, 8, 32),
        Code::new(&MATCHES, 6, 9, MATCHES.len()),
    ]
}

/// The lowest number of literals that a symbol stands for, and how many bits are added to it.
pub(super) fn literals_len(symbol: u8) -> (u32, u8) {
    const LONG: [(u32, u8); 9] =
        [(16, 1), (18, 1), (20, 1), (22, 1), (24, 2), (28, 2), (32, 3), (40, 3), (48, 4)];
    match symbol {
        ..16 => (symbol.into(), 0),
        16..25 => LONG[usize::from(symbol - 16)],
        _ => (1 << (symbol - 19), symbol - 19),
    }
}

/// As [`literals_len`], for what stands for an offset.
pub(super) fn offset(symbol: u8) -> (u32, u8) {
    (1 << symbol, symbol)
}

/// As [`literals_len`], for the length of a match.
pub(super) fn match_len(symbol: u8) -> (u32, u8) {
    const LONG: [(u32, u8); 11] = [
        (35, 1),
        (37, 1),
        (39, 1),
        (41, 1),
        (43, 2),
        (47, 2),
        (51, 3),
        (59, 3),
        (67, 4),
        (83, 4),
        (99, 5),
    ];
    match symbol {
        ..32 => (u32::from(symbol) + 3, 0),
        32..43 => LONG[usize::from(symbol - 32)],
        _ => ((1 << (symbol - 36)) + 3, symbol - 36),
    }
}
