//! Records that have numbers which move: those of relocatable objects (the System V ABI, Symbol
//! Table and Relocation) and of type information (the kernel's documentation, BPF Type Format).

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
/// `stands_for` says which section a symbol stands for. A symbol or relocation that is cut has no
/// numbers, and a type that is cut has those that are there.
pub fn visit(
    region: &mut [u8],
    records: Records,
    stands_for: impl Fn(u32) -> Option<u16>,
    change: impl FnMut(Site, u64) -> u64,
) {
    let mut sites = Sites { region, change };
    // Without all of its bytes there is no record.
    let _ = match records {
        Records::Types => types(&mut sites),
        Records::Symbols => symbols(&mut sites),
        Records::Relocations(section) => relocations(&mut sites, section, stands_for),
    };
}

struct Sites<'a, C> {
    region: &'a mut [u8],
    change: C,
}

impl<C: FnMut(Site, u64) -> u64> Sites<'_, C> {
    fn word(&mut self, at: usize, domain: Domain) -> Option<()> {
        let number = word_at(self.region, at)?;
        let number = (self.change)(Site { at, len: 4, domain }, number.into());
        // A word keeps its width.
        self.region[at..at + 4].copy_from_slice(&(number as u32).to_le_bytes());
        Some(())
    }

    fn long(&mut self, at: usize, domain: Domain) -> Option<()> {
        let number = u64::from_le_bytes(*self.region.get(at..)?.first_chunk()?);
        let number = (self.change)(Site { at, len: 8, domain }, number);
        self.region[at..at + 8].copy_from_slice(&number.to_le_bytes());
        Some(())
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

fn entries(len: usize) -> impl Iterator<Item = usize> {
    (0..len / ENTRY_LEN).map(|entry| entry * ENTRY_LEN)
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
