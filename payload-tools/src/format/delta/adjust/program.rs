//! Addresses in programs and shared libraries for x86-64 (the System V ABI and its supplement, Intel's
//! manual, volume 2, and the Linux Standard Base, Exception Frames).

use std::ops::Range;

use super::records::{Sites, entries, word_at};
use super::site::Site;

/// A part of a program, as long as it lies in the file as it does in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// What it has.
    pub content: Content,
    /// Where it is in memory; of a table of frames where the section begins.
    pub address: u64,
}

/// What a part has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Instructions that are the same wherever they are loaded.
    Code,
    /// Instructions that have addresses as well.
    FixedCode,
    /// Addresses, 8 bytes each, and other things.
    Pointers,
    /// Relocations with addends.
    Relocations,
    /// Symbols.
    Symbols,
    /// The table of functions and their frames, without what comes before it.
    FrameTable,
    /// Frames, one after another.
    Frames,
}

impl Content {
    /// In the order of their numbers in an adjustment.
    pub(super) const ALL: [Self; 7] = [
        Self::Code,
        Self::FixedCode,
        Self::Pointers,
        Self::Relocations,
        Self::Symbols,
        Self::FrameTable,
        Self::Frames,
    ];
}

/// Bytes of an entry of a table of frames.
pub const FRAME_TABLE_ENTRY: usize = 8;

pub(super) fn visit<C: FnMut(Site, u64) -> u64>(
    sites: &mut Sites<'_, C>,
    part: Part,
    addresses: &Range<u64>,
) -> Option<()> {
    let Part { content, address } = part;
    let len = sites.region.len();
    match content {
        Content::Code | Content::FixedCode => code(sites, part, addresses),
        Content::Pointers => {
            (0..len / 8).try_for_each(|entry| sites.address_long(entry * 8, addresses))
        }
        Content::Relocations => entries(len).try_for_each(|at| {
            sites.address_long(at, addresses)?;
            // The addend is an address where there is no symbol that it is added to.
            match word_at(sites.region, at + 12)? {
                0 => sites.address_long(at + 16, addresses),
                _ => Some(()),
            }
        }),
        Content::Symbols => entries(len).try_for_each(|at| sites.address_long(at + 8, addresses)),
        Content::FrameTable => (0..len / 4).try_for_each(|entry| {
            sites.distance(entry * 4, address, addresses)?;
            Some(())
        }),
        Content::Frames => frames(sites, address, addresses),
    }
}

/// Bytes of the frame that begins here.
pub fn frame_len(frames: &[u8]) -> Option<usize> {
    let len = word_at(frames, 0)? as usize;
    // The last has none, a function takes 8, and those of more than 4 GiB do not occur.
    (8..0xFFFF_FFF0).contains(&len).then(|| len + 4)
}

fn frames<C: FnMut(Site, u64) -> u64>(
    sites: &mut Sites<'_, C>,
    address: u64,
    addresses: &Range<u64>,
) -> Option<()> {
    let mut at = 0;
    loop {
        let len = frame_len(sites.region.get(at..)?)?;
        // One that others have in common has no function.
        if word_at(sites.region, at + 4)? != 0 {
            let function = at + 8;
            sites.distance(function, address.wrapping_add(function as u64), addresses)?;
        }
        at = at.checked_add(len)?;
    }
}

/// Instructions are not decoded, and where one begins is not known: what looks like the operand of one,
/// and is within the program, is taken for it. What is none costs a difference.
fn code<C: FnMut(Site, u64) -> u64>(
    sites: &mut Sites<'_, C>,
    Part { content, address }: Part,
    addresses: &Range<u64>,
) -> Option<()> {
    let is_fixed = content == Content::FixedCode;
    let (mut at, mut last) = (0, 0);
    while at + 4 <= sites.region.len() {
        let (code, before) = (&sites.region[at..], &sites.region[last..at]);
        if let Some(Operand { after, is_sure }) = operand(code[0], before)
            && let Some(word) = word_at(code, 1)
        {
            let is_absolute = is_fixed && !is_sure && addresses.contains(&word.into());
            let end = address.wrapping_add((at + 5 + after) as u64);
            if !is_absolute && sites.distance(at + 1, end, addresses)? {
                at += 5;
                last = at;
                continue;
            }
        }
        if is_fixed && sites.address_word(at, addresses)? {
            at += 4;
            last = at;
        } else {
            at += 1;
        }
    }
    Some(())
}

/// Four bytes that count from the end of their instruction.
struct Operand {
    /// Bytes of the instruction after them.
    after: usize,
    /// Whether the bytes before can hardly be anything else.
    is_sure: bool,
}

/// The operand behind this byte. What was changed is not among those before it: it would be read as it
/// was by who learns, and as it is by who adjusts.
fn operand(byte: u8, before: &[u8]) -> Option<Operand> {
    let back = |n: usize| before.len().checked_sub(n).map(|at| before[at]);
    let (after, is_sure) = match byte {
        // call, jmp
        0xE8 | 0xE9 => (0, true),
        // jcc
        0x80..=0x8F if back(1) == Some(0x0F) => (0, true),
        // ModRM: no register but the instruction pointer.
        modrm if modrm & 0xC7 == 0x05 => {
            let opcode = back(1)?;
            match (back(2), back(3)) {
                (Some(0x3A), Some(0x0F)) => (1, true),
                (Some(0x0F), _) => (usize::from(has_byte_after(opcode)), true),
                _ => (bytes_after(opcode, modrm >> 3 & 7), has_modrm(opcode)),
            }
        }
        _ => return None,
    };
    Some(Operand { after, is_sure })
}

/// Bytes of an immediate after ModRM and displacement, for opcodes of one byte.
fn bytes_after(opcode: u8, extension: u8) -> usize {
    match opcode {
        0x6B | 0x80 | 0x83 | 0xC0 | 0xC1 | 0xC6 => 1,
        0x69 | 0x81 | 0xC7 => 4,
        0xF6 if extension < 2 => 1,
        0xF7 if extension < 2 => 4,
        _ => 0,
    }
}

/// The same for opcodes of two bytes.
fn has_byte_after(opcode: u8) -> bool {
    matches!(opcode, 0x70..=0x73 | 0xA4 | 0xAC | 0xBA | 0xC2 | 0xC4..=0xC6)
}

/// Whether an opcode of one byte has a ModRM byte.
fn has_modrm(opcode: u8) -> bool {
    match opcode {
        0x00..=0x3F => opcode & 4 == 0,
        0x63 | 0x69 | 0x6B | 0x80..=0x8F | 0xC0 | 0xC1 | 0xC6 | 0xC7 => true,
        0xD0..=0xD3 | 0xD8..=0xDF | 0xF6 | 0xF7 | 0xFE | 0xFF => true,
        _ => false,
    }
}
