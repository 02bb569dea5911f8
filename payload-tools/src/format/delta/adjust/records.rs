//! Records that have numbers which move: those of relocatable objects (the System V ABI, Symbol
//! Table and Relocation) and of type information (the kernel's documentation, BPF Type Format).

use std::ops::Range;

use super::program::{self, Part};
use super::site::{Domain, Site};

/// Bytes of a symbol and of a relocation with an addend, of 64 bits.
pub const ENTRY_LEN: usize = 24;
/// Bytes of a type, without what follows it.
const TYPE_LEN: usize = 12;

/// What the records of a region are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// Types, each with what follows it.
    Types,
    /// Symbols.
    Symbols,
    /// Relocations of the section with this index.
    Relocations(u16),
    /// Something of a program that has addresses.
    Program(Part),
}

/// What follows a type: how many entries of how many bytes, and which of their words are what.
struct Entries {
    count: usize,
    len: usize,
    words: &'static [(usize, Domain)],
}

const NAME: (usize, Domain) = (0, Domain::TypeName);

impl Entries {
    fn of(kind: u32, vlen: usize) -> Self {
        let (count, len, words): (_, _, &[(usize, Domain)]) = match kind {
            // An array's element and index.
            3 => (1, 12, &[(0, Domain::Type), (4, Domain::Type)]),
            // Members of structures and unions, parameters.
            4 | 5 => (vlen, 12, &[NAME, (4, Domain::Type)]),
            13 => (vlen, 8, &[NAME, (4, Domain::Type)]),
            // Enumerators of 32 and of 64 bits.
            6 => (vlen, 8, &[NAME]),
            19 => (vlen, 12, &[NAME]),
            // Variables of a section.
            15 => (vlen, 12, &[(0, Domain::Type)]),
            // An integer's encoding, a variable's linkage, a tag's index.
            1 | 14 | 17 => (1, 4, &[]),
            _ => (0, 0, &[]),
        };
        Self { count, len, words }
    }
}

/// Whether the third word of a type of this kind is a type, and not a size.
fn refers(kind: u32) -> bool {
    matches!(kind, 2 | 8..=14 | 17 | 18)
}

/// Kind, and how much follows.
fn kind_of(info: u32) -> (u32, usize) {
    (info >> 24 & 0x1F, (info & 0xFFFF) as usize)
}

/// Bytes of the type that begins here, with what follows it.
pub fn type_len(types: &[u8]) -> Option<usize> {
    let (kind, vlen) = kind_of(word_at(types, 4)?);
    let entries = Entries::of(kind, vlen);
    Some(TYPE_LEN + entries.count * entries.len)
}

/// Visits the numbers of a region's records, and writes what `change` makes of each in its place.
/// `stands_for` says which section a symbol stands for; `addresses` are those of the program. A symbol
/// or relocation that is cut has no numbers, and a type that is cut has those that are there.
pub fn visit(
    region: &mut [u8],
    records: Records,
    stands_for: impl Fn(u32) -> Option<u16>,
    addresses: &Range<u64>,
    change: impl FnMut(Site, u64) -> u64,
) {
    let mut sites = Sites { region, change };
    // Without all of its bytes there is no record.
    let _ = match records {
        Records::Types => types(&mut sites),
        Records::Symbols => symbols(&mut sites),
        Records::Relocations(section) => relocations(&mut sites, section, stands_for),
        Records::Program(part) => program::visit(&mut sites, part, addresses),
    };
}

/// A region, and what becomes of its numbers.
pub(super) struct Sites<'a, C> {
    pub region: &'a mut [u8],
    change: C,
}

impl<C: FnMut(Site, u64) -> u64> Sites<'_, C> {
    fn word(&mut self, at: usize, domain: Domain) -> Option<()> {
        let number = word_at(self.region, at)?;
        let number = (self.change)(Site { at, len: 4, domain, from: 0 }, number.into());
        // A word keeps its width.
        self.region[at..at + 4].copy_from_slice(&(number as u32).to_le_bytes());
        Some(())
    }

    fn long(&mut self, at: usize, domain: Domain) -> Option<()> {
        let number = long_at(self.region, at)?;
        let number = (self.change)(Site { at, len: 8, domain, from: 0 }, number);
        self.region[at..at + 8].copy_from_slice(&number.to_le_bytes());
        Some(())
    }

    /// An address of four bytes; whether it is one.
    pub fn address_word(&mut self, at: usize, addresses: &Range<u64>) -> Option<bool> {
        let is_one = addresses.contains(&word_at(self.region, at)?.into());
        if is_one {
            self.word(at, Domain::Address)?;
        }
        Some(is_one)
    }

    /// An address of eight bytes, if it is one.
    pub fn address_long(&mut self, at: usize, addresses: &Range<u64>) -> Option<()> {
        match addresses.contains(&long_at(self.region, at)?) {
            true => self.long(at, Domain::Address),
            false => Some(()),
        }
    }

    /// An address of four bytes, signed, that is counted from `from`; whether it is one.
    pub fn distance(&mut self, at: usize, from: u64, addresses: &Range<u64>) -> Option<bool> {
        let distance = word_at(self.region, at)? as i32;
        let number = from.wrapping_add_signed(distance.into());
        if !addresses.contains(&number) {
            return Some(false);
        }
        let domain = Domain::Address;
        let to = (self.change)(Site { at, len: 4, domain, from }, number);
        let from = (self.change)(Site { at, len: 0, domain, from: 0 }, from);
        self.region[at..at + 4].copy_from_slice(&(to.wrapping_sub(from) as u32).to_le_bytes());
        Some(true)
    }
}

fn types<C: FnMut(Site, u64) -> u64>(sites: &mut Sites<'_, C>) -> Option<()> {
    let mut at = 0;
    loop {
        let (kind, vlen) = kind_of(word_at(sites.region, at + 4)?);
        sites.word(at, Domain::TypeName)?;
        if refers(kind) {
            sites.word(at + 8, Domain::Type)?;
        }
        at += TYPE_LEN;
        let entries = Entries::of(kind, vlen);
        for _ in 0..entries.count {
            for (word, domain) in entries.words {
                sites.word(at + word, *domain)?;
            }
            at += entries.len;
        }
    }
}

/// Name, and value within a section.
fn symbols<C: FnMut(Site, u64) -> u64>(sites: &mut Sites<'_, C>) -> Option<()> {
    /// Indices from here on are no sections.
    const RESERVED: u16 = 0xFF00;
    for at in entries(sites.region.len()) {
        sites.word(at, Domain::SymbolName)?;
        let section = u16::from_le_bytes(*sites.region.get(at + 6..)?.first_chunk()?);
        if (1..RESERVED).contains(&section) {
            sites.long(at + 8, Domain::Section(section))?;
        }
    }
    Some(())
}

/// Where it applies, which symbol, and, if that stands for a section, where in it.
fn relocations<C: FnMut(Site, u64) -> u64>(
    sites: &mut Sites<'_, C>,
    applies_to: u16,
    stands_for: impl Fn(u32) -> Option<u16>,
) -> Option<()> {
    for at in entries(sites.region.len()) {
        let symbol = word_at(sites.region, at + 12)?;
        sites.long(at, Domain::Section(applies_to))?;
        sites.word(at + 12, Domain::Symbol)?;
        if let Some(section) = stands_for(symbol) {
            sites.long(at + 16, Domain::Section(section))?;
        }
    }
    Some(())
}

pub(super) fn entries(len: usize) -> impl Iterator<Item = usize> {
    (0..len / ENTRY_LEN).map(|entry| entry * ENTRY_LEN)
}

pub(super) fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
