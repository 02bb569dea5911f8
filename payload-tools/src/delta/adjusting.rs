//! What is to be done to the modules and programs of one source.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::files::ImageFile;
use super::objects::{MovedObject, Objects};
use crate::format::delta::adjust::{Adjustment, Domain, FileAdjustment, Records};

/// Bytes of a file that are in a source.
struct Held {
    /// Where in the file.
    file: Range<usize>,
    /// Where in the source they begin.
    source: usize,
}

/// The adjustment of a source, which has these ranges of the old image, for the objects that
/// continue in a segment.
pub(super) fn adjustment(
    objects: &Objects,
    continued: &[(&ImageFile, &MovedObject)],
    ranges: &[Range<u64>],
    source: &[u8],
) -> Adjustment {
    let mut kernel = [BTreeSet::new(), BTreeSet::new()];
    let mut files = Vec::new();
    for (old, object) in continued {
        let mut file = Needed::default();
        for held in held(old, ranges) {
            for region in &object.old.regions {
                file.look(objects, object, (region, &held), source, &mut kernel);
            }
        }
        if !file.regions.is_empty() {
            files.push(file.adjustment(object));
        }
    }
    // In the order of the source; what lies among another's is left as it is.
    files.sort_by_key(|file| file.regions.first().map_or(0, |(range, _)| range.start));
    let mut end = 0;
    files.retain(|file| {
        let (first, last) = (file.regions.first(), file.regions.last());
        let is_behind = first.is_some_and(|(range, _)| range.start >= end);
        if let Some((range, _)) = last.filter(|_| is_behind) {
            end = range.end;
        }
        is_behind
    });
    let [types, names] = kernel;
    let reduced = [objects.kernel[0].reduced(types), objects.kernel[1].reduced(names)];
    Adjustment { own: objects.own, kernel: reduced, files }
}

/// What of a file is in these ranges of its image.
fn held(file: &ImageFile, ranges: &[Range<u64>]) -> Vec<Held> {
    let mut held = Vec::new();
    let mut at = 0;
    for range in ranges {
        for piece in &file.pieces {
            let start = piece.image.start.max(range.start);
            let end = piece.image.end.min(range.end);
            if start < end {
                let file = (piece.at + (start - piece.image.start)) as usize;
                held.push(Held {
                    file: file..file + (end - start) as usize,
                    source: at + (start - range.start) as usize,
                });
            }
        }
        at += (range.end - range.start) as usize;
    }
    held
}

/// What of an object's numbers is in a source and moved.
#[derive(Default)]
struct Needed {
    numbers: BTreeMap<Domain, BTreeSet<u64>>,
    symbols: BTreeSet<u32>,
    regions: Vec<(Range<usize>, Records)>,
}

impl Needed {
    /// Looks at what is held of a region.
    fn look(
        &mut self,
        objects: &Objects,
        object: &MovedObject,
        (region, held): (&(Range<usize>, Records), &Held),
        source: &[u8],
        kernel: &mut [BTreeSet<u64>; 2],
    ) {
        let Some((clipped, records)) = object.old.clipped(region, &held.file) else { return };
        let start = held.source + (clipped.start - held.file.start);
        let range = start..start + clipped.len();
        let mut has_moved = false;
        let mut seen = Vec::new();
        object.old.look_at(&(clipped, records), &source[range.clone()], |_, site, number| {
            // What moved as far as what it counts from is written as it was.
            let moved = |number| objects.moved(object, site.domain, number).wrapping_sub(number);
            let from = if site.from == 0 { 0 } else { moved(site.from) };
            has_moved |= site.len > 0 && moved(number) != from;
            seen.push((site.domain, number));
        });
        if !has_moved {
            return;
        }
        for (domain, number) in seen {
            match domain.of_kernel() {
                Some(which) if number < objects.own[which] => kernel[which].insert(number),
                _ => self.numbers.entry(domain).or_default().insert(number),
            };
            if domain == Domain::Symbol {
                self.symbols.extend(u32::try_from(number));
            }
        }
        self.regions.push((range, records));
    }

    fn adjustment(mut self, object: &MovedObject) -> FileAdjustment {
        let mut maps = BTreeMap::new();
        for (domain, numbers) in self.numbers {
            if let Some(map) = object.maps.get(&domain) {
                let map = map.reduced(numbers);
                if !map.is_empty() {
                    maps.insert(domain, map);
                }
            }
        }
        // Only where it makes a difference which section a symbol stands for.
        let sections = object.old.section_symbols.iter().filter(|(symbol, section)| {
            self.symbols.contains(symbol) && maps.contains_key(&Domain::Section(**section))
        });
        let sections = sections.map(|(symbol, section)| (*symbol, *section)).collect();
        self.regions.sort_by_key(|(range, _)| range.start);
        // Two pieces of a file may lie at one place, whatever a file system means by that.
        let mut end = 0;
        self.regions.retain(|(range, _)| {
            let is_behind = range.start >= end;
            end = end.max(range.end);
            is_behind
        });
        let addresses = object.old.addresses.clone();
        FileAdjustment { maps, sections, addresses, regions: self.regions }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::Piece;
    use super::super::objects::tests::{Source, learn};
    use super::*;

    /// A source of one region each; relocations of a section refer to it by its symbol.
    #[test]
    fn a_source_is_told_what_its_own_numbers_need() {
        let old = Source::old(1);
        let (objects, pairs) = learn(&[(old.clone(), old.renewed())]);
        let (object, file) = (&objects.all[&0], &pairs[0].0);
        let len = file.len() as u64;
        let image =
            ImageFile { path: Vec::new(), len, pieces: vec![Piece { at: 0, image: 0..len }] };
        for (region, records) in &object.old.regions {
            let range = region.start as u64..region.end as u64;
            let source = &file[region.clone()];
            let adjustment = adjustment(&objects, &[(&image, object)], &[range], source);
            let [found] = &adjustment.files[..] else { panic!("{adjustment:?}") };
            assert_eq!(found.regions, [(0..region.len(), *records)]);
            let expected = match records {
                Records::Relocations(_) => BTreeMap::from([(1, 1)]),
                _ => BTreeMap::new(),
            };
            assert_eq!(found.sections, expected, "{records:?}");
        }
    }

    /// A device makes of what it has of a program what the builder makes of all of it.
    #[test]
    fn parts_of_a_program_are_adjusted_as_the_whole_is() {
        use super::super::objects::tests::learn_files;
        use super::super::program::tests::Source;
        use crate::format::delta::adjust::Adjuster;
        let source = Source::old(true);
        let pair = (source.build(), source.renewed().build());
        let (objects, file) = (learn_files(std::slice::from_ref(&pair)), pair.0);
        let object = &objects.all[&0];
        let mut whole = file.clone();
        object.old.change(&mut whole, |site, number| objects.moved(object, site.domain, number));
        assert_ne!(whole, file);
        let len = file.len() as u64;
        let image =
            ImageFile { path: Vec::new(), len, pieces: vec![Piece { at: 0, image: 0..len }] };
        for bounds in [&[(0, len)][..], &[(700, len - 900)], &[(300, 4096), (5000, 9003)]] {
            let ranges: Vec<_> = bounds.iter().map(|(start, end)| *start..*end).collect();
            let cut = |whole: &[u8]| -> Vec<u8> {
                let cut =
                    |range: &Range<u64>| whole[range.start as usize..range.end as usize].to_vec();
                ranges.iter().flat_map(cut).collect()
            };
            let mut bytes = cut(&file);
            let adjustment = adjustment(&objects, &[(&image, object)], &ranges, &bytes);
            Adjuster::default().apply(&adjustment.encode(), &mut bytes).unwrap();
            let (is, was) = (cut(&whole), cut(&file));
            let wrong =
                |bytes: &[u8]| bytes.iter().zip(&is).filter(|(one, other)| one != other).count();
            // What is cut stays.
            assert!(wrong(&bytes) <= 24 * ranges.len(), "{} of {}", wrong(&bytes), wrong(&was));
            assert!(wrong(&was) > 200);
        }
    }
}
