//! What is done to a source before a patch is applied to it: numbers in kernel modules and in programs
//! are moved to where their new counterparts are, so that what merely moved differs no more.
//!
//! A new kernel gives nearly every module other ids of types, and a change in a module's or program's
//! code moves what refers to the code behind it. How they moved is a few places per file; without them
//! each number is a difference of its own.
//!
//! ```text
//! adjustment: twice (first own number | map of the kernel's) | files
//! file:       n, n * (domain, map) | n, n * (symbol, its section) | addresses: first, how many | n, n * region
//! region:     bytes from the end of the last | records | their address, if they are a program's | bytes
//! map:        n, n * (numbers from the last place | change of the shift)
//! ```

mod map;
mod program;
mod records;
mod site;

use std::collections::BTreeMap;
use std::ops::Range;

pub use map::ShiftMap;
pub use program::{Content, FRAME_TABLE_ENTRY, Part, frame_len};
pub use records::{ENTRY_LEN, Records, type_len, visit};
pub use site::{Domain, Site};

use super::varint::{self, Reader, VarintError};
use map::Place;

/// Most domains of a file, and most symbols of it that stand for a section.
const DOMAINS_MAX: usize = 1 << 12;
/// Most places of a segment's kernel maps and of a file's together.
const PLACES_MAX: usize = 1 << 16;

/// What is done to a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adjustment {
    /// The first type and the first name that a module has of its own. Those before are the
    /// kernel's, and move alike in every module.
    pub own: [u64; 2],
    /// How the kernel's types and names moved.
    pub kernel: [ShiftMap; 2],
    /// Modules and programs of the source, in their order there.
    pub files: Vec<FileAdjustment>,
}

/// What is done to one module or program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileAdjustment {
    /// How its numbers moved.
    pub maps: BTreeMap<Domain, ShiftMap>,
    /// The symbols that stand for a section, and which.
    pub sections: BTreeMap<u32, u16>,
    /// Where a program is in memory; nowhere if it is none.
    pub addresses: Range<u64>,
    /// Where in the source there are numbers, in bytes, in order.
    pub regions: Vec<(Range<usize>, Records)>,
}

/// An adjustment that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdjustError {
    /// A number cannot be read.
    #[error("what is to be adjusted is damaged: {0}")]
    Number(#[from] VarintError),
    /// A region that is not within the source.
    #[error("what is to be adjusted is not within the source")]
    Region,
    /// Numbers of something that is not known.
    #[error("what is to be adjusted is not known")]
    Domain,
    /// Domains, symbols or places that are not in their order.
    #[error("what is to be adjusted is not in order")]
    Order,
    /// More domains, symbols or places than there is room for.
    #[error("more is to be adjusted than one segment may have")]
    Places,
}

impl Adjustment {
    /// Its bytes; none where nothing is done.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.files.is_empty() {
            return out;
        }
        for (own, kernel) in self.own.iter().zip(&self.kernel) {
            varint::put(*own, &mut out);
            kernel.encode(&mut out);
        }
        let mut end = 0;
        for file in &self.files {
            file.encode(&mut end, &mut out);
        }
        out
    }
}

impl FileAdjustment {
    fn encode(&self, end: &mut usize, out: &mut Vec<u8>) {
        varint::put(self.maps.len() as u64, out);
        for (domain, map) in &self.maps {
            varint::put(domain.number(), out);
            map.encode(out);
        }
        varint::put(self.sections.len() as u64, out);
        let mut was = 0;
        for (symbol, section) in &self.sections {
            varint::put((symbol - was).into(), out);
            varint::put((*section).into(), out);
            was = *symbol;
        }
        varint::put(self.addresses.start, out);
        varint::put(self.addresses.end.saturating_sub(self.addresses.start), out);
        varint::put(self.regions.len() as u64, out);
        for (range, records) in &self.regions {
            varint::put((range.start - *end) as u64, out);
            records.encode(out);
            varint::put(range.len() as u64, out);
            *end = range.end;
        }
    }
}

/// The number of relocations of section 0; those before are what else there is.
const RELOCATIONS: u64 = 2 + Content::ALL.len() as u64;

impl Records {
    fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Types => varint::put(0, out),
            Self::Symbols => varint::put(1, out),
            Self::Program(Part { content, address }) => {
                varint::put(2 + content as u64, out);
                varint::put(address, out);
            }
            Self::Relocations(section) => varint::put(RELOCATIONS + u64::from(section), out),
        }
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, AdjustError> {
        Ok(match reader.number()? {
            0 => Self::Types,
            1 => Self::Symbols,
            number @ 2..RELOCATIONS => {
                let content = Content::ALL[number as usize - 2];
                Self::Program(Part { content, address: reader.number()? })
            }
            number => {
                let section = u16::try_from(number - RELOCATIONS);
                Self::Relocations(section.map_err(|_| AdjustError::Domain)?)
            }
        })
    }
}

/// Adjusts sources, with no memory beyond what it was given when it was made.
pub struct Adjuster {
    /// Of the kernel's maps first, then of the file at work.
    places: Vec<Place>,
    /// The file's domains, in order, and which places each has.
    domains: Vec<(Domain, Range<usize>)>,
    /// The file's symbols that stand for a section, in order.
    sections: Vec<(u32, u16)>,
}

/// What holds for every file of a source.
struct Kernel {
    own: [u64; 2],
    places: [Range<usize>; 2],
}

impl Default for Adjuster {
    fn default() -> Self {
        Self {
            places: Vec::with_capacity(PLACES_MAX),
            domains: Vec::with_capacity(DOMAINS_MAX),
            sections: Vec::with_capacity(DOMAINS_MAX),
        }
    }
}

impl Adjuster {
    /// Adjusts the source as these bytes say.
    pub fn apply(&mut self, bytes: &[u8], source: &mut [u8]) -> Result<(), AdjustError> {
        let mut reader = Reader::new(bytes);
        if reader.rest().is_empty() {
            return Ok(());
        }
        self.places.clear();
        let [one, other] = [self.kernel(&mut reader)?, self.kernel(&mut reader)?];
        let kernel = Kernel { own: [one.0, other.0], places: [one.1, other.1] };
        let shared = self.places.len();
        let mut end = 0;
        while !reader.rest().is_empty() {
            self.places.truncate(shared);
            self.parse_domains(&mut reader)?;
            self.parse_sections(&mut reader)?;
            let start = reader.number()?;
            let past = start.checked_add(reader.number()?).ok_or(AdjustError::Region)?;
            let addresses = start..past;
            for _ in 0..reader.number()? {
                let (range, records) = region(&mut reader, end)?;
                end = range.end;
                let region = source.get_mut(range).ok_or(AdjustError::Region)?;
                visit(
                    region,
                    records,
                    |symbol| self.stands_for(symbol),
                    &addresses,
                    |site, number| self.moved(&kernel, site, number),
                );
            }
        }
        Ok(())
    }

    /// The first number that modules have of their own, and the places of those before.
    fn kernel(&mut self, reader: &mut Reader<'_>) -> Result<(u64, Range<usize>), AdjustError> {
        let own = reader.number()?;
        Ok((own, map::parse(reader, &mut self.places)?))
    }

    fn parse_domains(&mut self, reader: &mut Reader<'_>) -> Result<(), AdjustError> {
        self.domains.clear();
        for _ in 0..reader.number()? {
            let domain = Domain::of_number(reader.number()?).ok_or(AdjustError::Domain)?;
            if self.domains.last().is_some_and(|(last, _)| *last >= domain) {
                return Err(AdjustError::Order);
            }
            let places = map::parse(reader, &mut self.places)?;
            map::push(&mut self.domains, (domain, places))?;
        }
        Ok(())
    }

    fn parse_sections(&mut self, reader: &mut Reader<'_>) -> Result<(), AdjustError> {
        self.sections.clear();
        let mut was = 0u32;
        for _ in 0..reader.number()? {
            let (skip, section) = (reader.number()?, reader.number()?);
            if skip == 0 && !self.sections.is_empty() {
                return Err(AdjustError::Order);
            }
            let symbol = u32::try_from(skip).ok().and_then(|skip| was.checked_add(skip));
            was = symbol.ok_or(AdjustError::Order)?;
            let section = u16::try_from(section).map_err(|_| AdjustError::Domain)?;
            map::push(&mut self.sections, (was, section))?;
        }
        Ok(())
    }

    fn stands_for(&self, symbol: u32) -> Option<u16> {
        let found = self.sections.binary_search_by_key(&symbol, |(symbol, _)| *symbol).ok()?;
        Some(self.sections[found].1)
    }

    fn moved(&self, kernel: &Kernel, site: Site, number: u64) -> u64 {
        let places = match site.domain.of_kernel() {
            Some(which) if number < kernel.own[which] => Some(&kernel.places[which]),
            _ => self.of_file(site.domain),
        };
        places.map_or(number, |places| map::moved(&self.places[places.clone()], number))
    }

    fn of_file(&self, domain: Domain) -> Option<&Range<usize>> {
        let found = self.domains.binary_search_by_key(&domain, |(domain, _)| *domain).ok()?;
        Some(&self.domains[found].1)
    }
}

/// The next region, which begins at or behind the end of the one before.
fn region(reader: &mut Reader<'_>, end: usize) -> Result<(Range<usize>, Records), AdjustError> {
    let (skip, records, len) = (reader.number()?, Records::parse(reader)?, reader.number()?);
    let add = |at: usize, len: u64| usize::try_from(len).ok().and_then(|len| at.checked_add(len));
    let start = add(end, skip).ok_or(AdjustError::Region)?;
    let past = add(start, len).ok_or(AdjustError::Region)?;
    Ok((start..past, records))
}

#[cfg(test)]
mod tests;
