//! ELF files of 64 bits (the System V ABI, ELF Header, Sections, Symbol Table): where relocatable
//! objects, which is what kernel modules are, and programs have numbers that move.

use std::collections::BTreeMap;
use std::ops::Range;

use super::program;
use crate::format::delta::adjust::{
    Content, ENTRY_LEN, FRAME_TABLE_ENTRY, Part, Records, Site, type_len, visit,
};

/// "\x7fELF", 64 bits, the lowest byte first.
const IDENT: [u8; 6] = [0x7F, b'E', b'L', b'F', 2, 1];
const RELOCATABLE: u16 = 1;
const EXECUTABLE: u16 = 2;
const SHARED: u16 = 3;
const X86_64: u16 = 62;
const SECTION_LEN: usize = 64;
/// Longer names of sections are cut.
const NAME_MAX: usize = 128;
/// A section with the program's own bytes.
pub(super) const PROGBITS: u32 = 1;
/// A section without bytes in the file.
const NOBITS: u32 = 8;
const SYMTAB: u32 = 2;
pub(super) const RELA: u32 = 4;
/// The kind of symbols that stand for a section.
const SECTION_SYMBOL: u8 = 3;
/// What type information begins with.
const TYPES_MAGIC: u16 = 0xEB9F;

/// Whether these are the first bytes of a relocatable object.
pub(super) fn is_relocatable(bytes: &[u8]) -> bool {
    bytes.starts_with(&IDENT) && u16_at(bytes, 16) == Some(RELOCATABLE)
}

/// Whether these are the first bytes of a program or shared library for x86-64.
pub(super) fn is_program(bytes: &[u8]) -> bool {
    let kind = u16_at(bytes, 16);
    bytes.starts_with(&IDENT)
        && (kind == Some(EXECUTABLE) || kind == Some(SHARED))
        && u16_at(bytes, 18) == Some(X86_64)
}

/// Whether a program is loaded where it says, and nowhere else.
pub(super) fn is_fixed(bytes: &[u8]) -> bool {
    u16_at(bytes, 16) == Some(EXECUTABLE)
}

/// A section of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub name: Vec<u8>,
    /// Its bytes in the file; none where it reaches beyond it.
    pub bytes: Range<usize>,
    /// Where it is in memory.
    pub address: u64,
    /// How long it is there.
    pub len: u64,
    pub kind: u32,
    pub flags: u64,
    info: u32,
}

/// An object, understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub sections: Vec<Section>,
    /// Which symbols stand for a section, and for which.
    pub section_symbols: BTreeMap<u32, u16>,
    /// Where in the file there are numbers, in order.
    pub regions: Vec<(Range<usize>, Records)>,
    /// Where each of its types begins in the file.
    pub types: Vec<usize>,
    /// Where the last of its types' names begins, counted from the first.
    pub last_string: Option<u64>,
    /// Where a program is in memory; nowhere if it is none.
    pub addresses: Range<u64>,
    /// Where each of its frames begins in the file.
    pub frames: Vec<usize>,
}

impl Object {
    /// `None` where it is none that is known or its header does not hold.
    pub fn parse(file: &[u8]) -> Option<Self> {
        let mut object = Self { sections: sections(file)?, ..Self::default() };
        match (is_relocatable(file), is_program(file)) {
            (true, _) => object.read_relocatable(file),
            (_, true) => program::read(&mut object, file),
            _ => return None,
        }
        object.regions.retain(|(range, _)| !range.is_empty());
        object.regions.sort_by_key(|(range, _)| (range.start, range.end));
        // No byte is of two records, whatever the header says.
        let mut end = 0;
        object.regions.retain(|(range, _)| {
            let is_behind = range.start >= end;
            end = end.max(range.end);
            is_behind
        });
        program::read_frames(&mut object, file);
        Some(object)
    }

    fn read_relocatable(&mut self, file: &[u8]) {
        let object = self;
        for section in object.sections.iter().filter(|section| section.kind == RELA) {
            if let Ok(applies_to) = u16::try_from(section.info) {
                object.regions.push((section.bytes.clone(), Records::Relocations(applies_to)));
            }
        }
        if let Some(section) = object.sections.iter().find(|section| section.kind == SYMTAB) {
            object.regions.push((section.bytes.clone(), Records::Symbols));
            let symbols = (0..).zip(file[section.bytes.clone()].chunks_exact(ENTRY_LEN));
            let stands = symbols.filter(|(_, symbol)| symbol[4] & 0xF == SECTION_SYMBOL);
            object.section_symbols =
                stands.filter_map(|(index, symbol)| Some((index, u16_at(symbol, 6)?))).collect();
        }
        let types = object.sections.iter().find(|section| section.name == b".BTF");
        if let Some(types) = types.map(|section| section.bytes.clone()) {
            object.read_types(file, &types);
        }
    }

    /// Types as far as they hold.
    fn read_types(&mut self, file: &[u8], section: &Range<usize>) {
        let part = |at: usize| -> Option<Range<usize>> {
            let bytes = &file[section.clone()];
            let start = (u32_at(bytes, 4)? as usize).checked_add(u32_at(bytes, at)? as usize)?;
            let end = start.checked_add(u32_at(bytes, at + 4)? as usize)?;
            (end <= section.len()).then(|| section.start + start..section.start + end)
        };
        if u16_at(file, section.start) != Some(TYPES_MAGIC) {
            return;
        }
        let (Some(types), Some(strings)) = (part(8), part(16)) else { return };
        let mut at = types.start;
        while let Some(len) = type_len(&file[at..types.end]).filter(|len| *len <= types.end - at) {
            self.types.push(at);
            at += len;
        }
        self.regions.push((types.start..at, Records::Types));
        let strings = file[strings].strip_suffix(&[0]);
        let before = strings.and_then(|strings| strings.iter().rposition(|byte| *byte == 0));
        self.last_string = before.map(|before| before as u64 + 1);
    }

    /// Shows the numbers of the object: where in the file each is, and what it is.
    pub fn look(&self, file: &[u8], mut see: impl FnMut(usize, Site, u64)) {
        for region in &self.regions {
            self.look_at(region, &file[region.0.clone()], &mut see);
        }
    }

    /// The same, of a region, or of whole records of it.
    pub fn look_at(
        &self,
        (range, records): &(Range<usize>, Records),
        bytes: &[u8],
        mut see: impl FnMut(usize, Site, u64),
    ) {
        self.change_at((range, *records), &mut bytes.to_vec(), &mut |at, site, number| {
            see(at, site, number);
            number
        });
    }

    /// Writes what `change` makes of each number in its place.
    pub fn change(&self, file: &mut [u8], mut change: impl FnMut(Site, u64) -> u64) {
        for (range, records) in &self.regions {
            let region = &mut file[range.clone()];
            self.change_at((range, *records), region, &mut |_, site, number| change(site, number));
        }
    }

    fn change_at(
        &self,
        (range, records): (&Range<usize>, Records),
        bytes: &mut [u8],
        change: &mut dyn FnMut(usize, Site, u64) -> u64,
    ) {
        let stands_for = |symbol| self.section_symbols.get(&symbol).copied();
        visit(bytes, records, stands_for, &self.addresses, |site, number| {
            change(range.start + site.at, site, number)
        });
    }

    /// What is whole of a region's records within these bytes of the file.
    pub fn clipped(
        &self,
        (region, records): &(Range<usize>, Records),
        within: &Range<usize>,
    ) -> Option<(Range<usize>, Records)> {
        let (start, end) = (region.start.max(within.start), region.end.min(within.end));
        let clipped = match records {
            Records::Types => begun(&self.types, region, start..end)?,
            Records::Program(Part { content: Content::Frames, .. }) => {
                begun(&self.frames, region, start..end)?
            }
            Records::Symbols | Records::Relocations(_) => entries(region, start..end, ENTRY_LEN),
            Records::Program(part) => entries(region, start..end, entry_len(part.content)),
        };
        let records = match records {
            Records::Program(part) if part.content != Content::FrameTable => {
                let address = part.address.wrapping_add((clipped.start - region.start) as u64);
                Records::Program(Part { address, ..*part })
            }
            _ => *records,
        };
        (clipped.start < clipped.end).then_some((clipped, records))
    }
}

/// Bytes that belong together.
fn entry_len(content: Content) -> usize {
    match content {
        // Frames have no one length.
        Content::Code | Content::FixedCode | Content::Frames => 1,
        Content::Pointers => 8,
        Content::Relocations | Content::Symbols => ENTRY_LEN,
        Content::FrameTable => FRAME_TABLE_ENTRY,
    }
}

/// Whole entries of a region.
fn entries(region: &Range<usize>, within: Range<usize>, len: usize) -> Range<usize> {
    let first = (within.start - region.start).div_ceil(len);
    let past = (within.end.max(within.start) - region.start) / len;
    region.start + first * len..region.start + past * len
}

/// Whole records of a region, which begin at these places.
fn begun(begins: &[usize], region: &Range<usize>, within: Range<usize>) -> Option<Range<usize>> {
    let first = begins.partition_point(|at| *at < within.start);
    let past = begins.partition_point(|at| *at < within.end);
    // The last one that begins before the end is cut, unless another begins there.
    let is_border = within.end == region.end || begins.get(past) == Some(&within.end);
    let last = if is_border { within.end } else { *begins.get(past.max(1) - 1)? };
    Some(*begins.get(first)?..last)
}

fn sections(file: &[u8]) -> Option<Vec<Section>> {
    if !file.starts_with(&IDENT) || usize::from(u16_at(file, 58)?) != SECTION_LEN {
        return None;
    }
    let at = usize::try_from(u64_at(file, 40)?).ok()?;
    let [count, names] = [usize::from(u16_at(file, 60)?), usize::from(u16_at(file, 62)?)];
    let table = file.get(at..)?.get(..count * SECTION_LEN)?;
    let names = table.chunks_exact(SECTION_LEN).nth(names)?;
    let names = file.get(bytes_of(names, file.len())?)?;
    let section = |header: &[u8]| {
        let name = names.get(u32_at(header, 0)? as usize..).unwrap_or_default();
        let name = name[..name.len().min(NAME_MAX)].split(|byte| *byte == 0).next();
        let kind = u32_at(header, 4)?;
        let bytes = bytes_of(header, file.len()).filter(|_| kind != NOBITS);
        Some(Section {
            name: name.unwrap_or_default().to_vec(),
            bytes: bytes.unwrap_or(0..0),
            address: u64_at(header, 16)?,
            len: u64_at(header, 32)?,
            kind,
            flags: u64_at(header, 8)?,
            info: u32_at(header, 44)?,
        })
    };
    table.chunks_exact(SECTION_LEN).map(section).collect()
}

fn bytes_of(header: &[u8], file_len: usize) -> Option<Range<usize>> {
    let [at, len] = [u64_at(header, 24)?, u64_at(header, 32)?];
    let end = at.checked_add(len).filter(|end| *end <= file_len as u64)?;
    // Within the file they fit a usize.
    Some(at as usize..end as usize)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
