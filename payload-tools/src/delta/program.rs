//! Programs and shared libraries: where they have addresses, and how those moved.

use std::collections::BTreeMap;
use std::ops::Range;

use super::elf::{Object, PROGBITS, RELA, Section, is_fixed};
use super::tracks::Tracks;
use super::votes::Votes;
use crate::format::delta::adjust::{Content, Domain, Part, Records, ShiftMap, frame_len};

const WRITABLE: u64 = 1;
const LOADED: u64 = 2;
const INSTRUCTIONS: u64 = 4;
const DYNAMIC: u32 = 6;
const DYNSYM: u32 = 11;
const INIT_ARRAY: u32 = 14;
const FINI_ARRAY: u32 = 15;
/// Bytes of a table of frames before its first entry.
const FRAME_TABLE_HEAD: usize = 12;
/// Where a section begins is sure, even where little refers to it.
const SECTION_VOTES: usize = 3;
/// What moved is seen better once most of what moved does not differ any more.
const ROUNDS: usize = 3;

/// Finds what has addresses in a program whose sections are known.
pub(super) fn read(program: &mut Object, file: &[u8]) {
    let loaded = || program.sections.iter().filter(|section| section.flags & LOADED != 0);
    let first = loaded().map(|section| section.address).min().unwrap_or_default();
    let past = loaded().map(|section| section.address.saturating_add(section.len)).max();
    program.addresses = first..past.map_or(first, |past| past.max(first));
    let is_fixed = is_fixed(file);
    let regions = loaded().filter_map(|section| {
        let content = content(section, is_fixed)?;
        let head = if content == Content::FrameTable { FRAME_TABLE_HEAD } else { 0 };
        let bytes = section.bytes.start + head..section.bytes.end;
        let part = Part { content, address: section.address };
        (bytes.start < bytes.end).then_some((bytes, Records::Program(part)))
    });
    program.regions = regions.collect();
}

/// Finds where the frames of a program begin, whose regions are apart.
pub(super) fn read_frames(program: &mut Object, file: &[u8]) {
    for (bytes, records) in &mut program.regions {
        if content_of(records) == Some(Content::Frames) {
            let mut at = bytes.start;
            while let Some(len) = frame_len(&file[at..bytes.end]) {
                if len > bytes.end - at {
                    break;
                }
                program.frames.push(at);
                at += len;
            }
            bytes.end = at;
        }
    }
}

fn content_of(records: &Records) -> Option<Content> {
    match records {
        Records::Program(part) => Some(part.content),
        _ => None,
    }
}

fn content(section: &Section, is_fixed: bool) -> Option<Content> {
    Some(match section.kind {
        PROGBITS if section.flags & INSTRUCTIONS != 0 && is_fixed => Content::FixedCode,
        PROGBITS if section.flags & INSTRUCTIONS != 0 => Content::Code,
        PROGBITS if section.name == b".eh_frame_hdr" => Content::FrameTable,
        PROGBITS if section.name == b".eh_frame" => Content::Frames,
        PROGBITS if is_fixed || section.flags & WRITABLE != 0 => Content::Pointers,
        RELA => Content::Relocations,
        DYNSYM => Content::Symbols,
        DYNAMIC | INIT_ARRAY | FINI_ARRAY => Content::Pointers,
        _ => return None,
    })
}

/// How the addresses of a program moved.
pub(super) fn learn(old: &Object, was: &[u8], new: &Object, is: &[u8]) -> ShiftMap {
    let mut map = ShiftMap::default();
    for _ in 0..ROUNDS {
        let mut adjusted = was.to_vec();
        old.change(&mut adjusted, |_, address| map.moved(address));
        let seen = look(&Pair::new(old, new, &Tracks::of(&adjusted, is)), was, is);
        if std::mem::replace(&mut map, seen) == map {
            break;
        }
    }
    map
}

struct Pair<'a> {
    old: &'a Object,
    new: &'a Object,
    tracks: &'a Tracks,
    /// Where the sections of both are in their files and in memory.
    places: [Vec<(Range<usize>, u64)>; 2],
}

impl<'a> Pair<'a> {
    fn new(old: &'a Object, new: &'a Object, tracks: &'a Tracks) -> Self {
        let places = [old, new].map(|program| {
            let loaded = program.sections.iter().filter(|section| section.flags & LOADED != 0);
            let mut places: Vec<_> =
                loaded.map(|section| (section.bytes.clone(), section.address)).collect();
            places.retain(|(bytes, _)| !bytes.is_empty());
            places.sort_unstable_by_key(|(bytes, _)| bytes.start);
            places
        });
        Self { old, new, tracks, places }
    }

    /// Where the place is now from which a number at `at` counts, which is at `to` now.
    fn moved_place(&self, at: usize, to: usize, from: u64) -> Option<u64> {
        let [was, is] = &self.places;
        let (was, is) = (address_of(was, at)?, address_of(is, to)?);
        Some(is.wrapping_add(from.wrapping_sub(was)))
    }
}

/// Reads from what continues each other where each address went.
fn look<'a>(pair: &Pair<'a>, was: &[u8], is: &[u8]) -> ShiftMap {
    let Pair { old, new, tracks, .. } = pair;
    let mut votes = Votes::default();
    let by_name = |section: &'a Section| (&section.name[..], section.address);
    let moved: BTreeMap<&[u8], u64> = new.sections.iter().map(by_name).collect();
    for section in old.sections.iter().filter(|section| section.flags & LOADED != 0) {
        if let Some(moved) = moved.get(&section.name[..]) {
            votes.extend([(Domain::Address, section.address, *moved); SECTION_VOTES]);
        }
    }
    let frame_table = new.regions.iter().find_map(|(_, records)| match records {
        Records::Program(Part { content: Content::FrameTable, address }) => Some(*address),
        _ => None,
    });
    for (bytes, records) in &old.regions {
        let is_table = content_of(records) == Some(Content::FrameTable);
        old.look_at(&(bytes.clone(), *records), &was[bytes.clone()], |at, site, number| {
            let Some(to) = tracks.find(at, site.len).filter(|_| site.len > 0) else { return };
            let mut stored = [0; 8];
            stored[..site.len].copy_from_slice(&is[to..to + site.len]);
            let stored = u64::from_le_bytes(stored);
            let from = match site.from {
                0 => Some(0),
                _ if is_table => frame_table,
                from => pair.moved_place(at, to, from),
            };
            let Some(from) = from else { return };
            let number_is = match site.from {
                0 => stored,
                _ => from.wrapping_add_signed((stored as i32).into()),
            };
            if new.addresses.contains(&number_is) {
                votes.extend([(Domain::Address, number, number_is)]);
            }
            if !is_table && site.from != 0 {
                votes.extend([(Domain::Address, site.from, from)]);
            }
        });
    }
    votes.maps().remove(&Domain::Address).unwrap_or_default()
}

/// The address of a place in the file.
fn address_of(places: &[(Range<usize>, u64)], at: usize) -> Option<u64> {
    let past = places.partition_point(|(bytes, _)| bytes.start <= at);
    let (bytes, address) = &places[past.checked_sub(1)?];
    bytes.contains(&at).then(|| address.wrapping_add((at - bytes.start) as u64))
}

#[cfg(test)]
pub(super) mod tests;
