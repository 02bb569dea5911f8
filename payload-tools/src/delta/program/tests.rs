use super::*;
use crate::format::delta::adjust::{ENTRY_LEN, FRAME_TABLE_ENTRY};
use crate::testing::noise;

const TEXT: u64 = 0x1000;

/// A program of functions, each of which calls another and refers to a string, and tables of all.
#[derive(Clone)]
pub(in crate::delta) struct Source {
    /// Each without what refers elsewhere.
    functions: Vec<Vec<u8>>,
    strings: Vec<Vec<u8>>,
    is_fixed: bool,
}

/// Bytes at the beginning of a function that refer elsewhere.
const REFERS: usize = 17;

impl Source {
    pub fn old(is_fixed: bool) -> Self {
        let functions = (0..60).map(|n| noise(n, 64 + n as usize * 7 % 90)).collect();
        let strings = (0..40).map(|n| noise(100 + n, 10 + n as usize % 7)).collect();
        Self { functions, strings, is_fixed }
    }

    /// With 48 bytes more in a function, one function more, and one string.
    pub fn renewed(&self) -> Self {
        let mut new = self.clone();
        new.functions[20].splice(40..40, noise(200, 48));
        new.functions.insert(45, noise(201, 50));
        new.strings.insert(15, noise(202, 20));
        new
    }

    /// Where each begins, one after another.
    fn places(lens: impl Iterator<Item = usize>, start: u64) -> Vec<u64> {
        let mut end = start;
        let place = |len: usize| {
            let at = end;
            end = (at + len as u64).next_multiple_of(16);
            at
        };
        lens.map(place).collect()
    }

    pub fn build(&self) -> Vec<u8> {
        let functions = Self::places(self.functions.iter().map(|f| f.len() + REFERS), TEXT);
        let text_end = functions.last().unwrap() + 0x200;
        let strings = Self::places(self.strings.iter().map(Vec::len), text_end);
        let strings_end = strings.last().unwrap() + 0x40;
        let (frames_at, data_at) = (strings_end + 0x2000, strings_end + 0x4000);
        let (mut text, mut rodata) = (Vec::new(), Vec::new());
        let (mut frames, mut table) =
            (words(&[12, 0, 0x5241_0001, 0x1B]), vec![0; FRAME_TABLE_HEAD]);
        let (mut data, mut relocations, mut symbols) = (Vec::new(), Vec::new(), Vec::new());
        let distance = |to: u64, from: u64| (to.wrapping_sub(from) as u32).to_le_bytes();
        // New ones refer to what is new; all others to what they referred to before.
        for (index, (at, body)) in functions.iter().zip(&self.functions).enumerate() {
            text.resize((at - TEXT) as usize, 0xCC);
            let (other, string) = (self.refers_to(index, 60), self.refers_to(index, 40));
            let (other, string) = (self.function(other), self.string(string));
            let (other, string) = (functions[other], strings[string]);
            text.extend([&[0xE8][..], &distance(other, at + 5)].concat());
            match self.is_fixed {
                true => {
                    text.extend([&[0x90, 0x90, 0xBF][..], &(string as u32).to_le_bytes()].concat())
                }
                false => {
                    text.extend([&[0x48, 0x8D, 0x3D][..], &distance(string, at + 12)].concat())
                }
            }
            text.extend([&[0xE9][..], &distance(functions[0], at + 17)].concat());
            text.extend(body);
            table.extend(
                [
                    distance(*at, frames_at - 0x1000),
                    distance(frames_at + frames.len() as u64, frames_at - 0x1000),
                ]
                .concat(),
            );
            let place = frames_at + frames.len() as u64 + 8;
            frames.extend(words(&[12, frames.len() as u32 + 4]));
            frames.extend([distance(*at, place), (body.len() as u32).to_le_bytes()].concat());
            data.extend(at.to_le_bytes());
            relocations.extend([data_at + index as u64 * 8, 8, *at].map(u64::to_le_bytes).concat());
            symbols.extend([index as u64, *at, body.len() as u64].map(u64::to_le_bytes).concat());
        }
        for (at, string) in strings.iter().zip(&self.strings) {
            rodata.resize((at - text_end) as usize, 0);
            rodata.extend(string);
        }
        frames.extend([0; 4]);
        let table_at = frames_at - 0x1000;
        let (relocations_at, symbols_at) = (data_at + 0x1000, data_at + 0x3000);
        let sections: [(&str, u32, u64, u64, &[u8]); 7] = [
            (".text", PROGBITS, LOADED | INSTRUCTIONS, TEXT, &text),
            (".rodata", PROGBITS, LOADED, text_end, &rodata),
            (".eh_frame_hdr", PROGBITS, LOADED, table_at, &table),
            (".eh_frame", PROGBITS, LOADED, frames_at, &frames),
            (".data", PROGBITS, LOADED | WRITABLE, data_at, &data),
            (".rela.dyn", RELA, LOADED, relocations_at, &relocations),
            (".dynsym", DYNSYM, LOADED, symbols_at, &symbols),
        ];
        elf(&sections, self.is_fixed)
    }

    /// What a function refers to, as it is counted in the old program.
    fn refers_to(&self, index: usize, count: usize) -> usize {
        let is_new = self.functions.len() > 60;
        let index = if is_new && index > 45 { index - 1 } else { index };
        (index * 37 + 11) % count
    }

    fn function(&self, index: usize) -> usize {
        if self.functions.len() > 60 && index >= 45 { index + 1 } else { index }
    }

    fn string(&self, index: usize) -> usize {
        if self.strings.len() > 40 && index >= 15 { index + 1 } else { index }
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Name, kind, flags, address and bytes of each section.
fn elf(sections: &[(&str, u32, u64, u64, &[u8])], is_fixed: bool) -> Vec<u8> {
    let mut names = vec![0];
    let mut file = vec![0; 64];
    let mut headers = vec![0; 64];
    let mut header = |name: usize, kind: u32, flags: u64, address: u64, at: usize, len: usize| {
        let longs = [flags, address, at as u64, len as u64, 0, 8, 0].map(u64::to_le_bytes);
        headers.extend([words(&[name as u32, kind]), longs.concat()].concat());
    };
    for (name, kind, flags, address, bytes) in sections {
        file.resize(file.len().next_multiple_of(16), 0);
        header(names.len(), *kind, *flags, *address, file.len(), bytes.len());
        names.extend([name.as_bytes(), &[0]].concat());
        file.extend(*bytes);
    }
    header(0, 3, 0, 0, file.len(), names.len());
    file.extend(names);
    let table = file.len() as u64;
    file.extend(headers);
    file[..6].copy_from_slice(b"\x7FELF\x02\x01");
    [file[16], file[18], file[58]] = [if is_fixed { 2 } else { 3 }, 62, 64];
    file[40..48].copy_from_slice(&table.to_le_bytes());
    [file[60], file[62]] = [sections.len() as u8 + 2, sections.len() as u8 + 1];
    file
}

/// The old program with its addresses moved, and the new one.
fn moved(source: &Source) -> (Vec<u8>, Vec<u8>) {
    let (was, is) = (source.build(), source.renewed().build());
    let (old, new) = (Object::parse(&was).unwrap(), Object::parse(&is).unwrap());
    let map = learn(&old, &was, &new, &is);
    let mut adjusted = was.clone();
    old.change(&mut adjusted, |_, address| map.moved(address));
    (adjusted, is)
}

/// Bytes of `new` that are not found in `old`, as they are and in order.
fn unlike(old: &[u8], new: &[u8]) -> usize {
    let tracks = Tracks::of(old, new);
    let alike = |track: &super::super::tracks::Track| {
        let pairs = old[track.old..].iter().zip(&new[track.new..]).take(track.len);
        pairs.filter(|(old, new)| old == new).count()
    };
    new.len() - tracks.iter().map(alike).sum::<usize>()
}

#[test]
fn what_refers_to_what_moved_differs_no_more() {
    for is_fixed in [false, true] {
        let source = Source::old(is_fixed);
        let (adjusted, is) = moved(&source);
        // Beside what is new in code and strings, its own entries, and heads and sizes of sections.
        let new = 48 + 16 + REFERS + 50 + 20 + FRAME_TABLE_ENTRY + 8 + 2 * ENTRY_LEN + 16;
        let (left, before) = (unlike(&adjusted, &is), unlike(&source.build(), &is));
        assert!(left <= new + 60 && before > 3 * left, "{left} of {before} left, {new} new");
    }
}

#[test]
fn all_parts_of_a_program_are_found() {
    let of = |is_fixed| {
        let program = Object::parse(&Source::old(is_fixed).build()).unwrap();
        assert_eq!(program.frames.len(), 61);
        let parts = program.regions.iter().map(|(_, records)| match records {
            Records::Program(Part { content, .. }) => *content,
            other => panic!("{other:?}"),
        });
        parts.collect::<Vec<_>>()
    };
    let [code, rodata @ .., data, relocations, symbols] = &of(true)[..] else { panic!() };
    assert_eq!([*code, *data], [Content::FixedCode, Content::Pointers]);
    assert_eq!([*relocations, *symbols], [Content::Relocations, Content::Symbols]);
    assert_eq!(rodata, [Content::Pointers, Content::FrameTable, Content::Frames]);
    let others = [Content::Code, Content::FrameTable, Content::Frames, Content::Pointers];
    assert_eq!(of(false)[..4], others);
}

/// Cut anywhere, what is left of a region has the addresses that it had, or none.
#[test]
fn a_part_of_a_region_has_its_addresses() {
    let file = Source::old(false).build();
    let program = Object::parse(&file).unwrap();
    let mut all = Vec::new();
    program.look(&file, |at, site, number| all.push((at, site.len, number)));
    for region in &program.regions {
        for (before, after) in [(0, 0), (1, 0), (24, 1), (200, 200)] {
            let within = region.0.start + before..region.0.end - after;
            let Some((clipped, records)) = program.clipped(region, &within) else { panic!() };
            assert!(within.start <= clipped.start && clipped.end <= within.end);
            let mut found = 0;
            let look = |at, site: crate::format::delta::adjust::Site, number| {
                // The first bytes may be the end of an instruction.
                let is_first = at < clipped.start + 24;
                assert!(is_first || all.contains(&(at, site.len, number)), "{at} {number:x}");
                found += 1;
            };
            program.look_at(&(clipped.clone(), records), &file[clipped.clone()], look);
            assert!(found > 0, "{records:?}");
        }
    }
}

#[test]
fn hostile_headers_are_survived() {
    let file = Source::old(false).build();
    let table = file.len() - 64 * 9;
    for at in (0..64).chain(table..file.len()) {
        for byte in [1, 0xFF] {
            let mut bad = file.clone();
            bad[at] = byte;
            if let Some(object) = Object::parse(&bad) {
                object.look(&bad, |_, _, _| ());
                let parts = [0..bad.len(), 100..5000, 5001..5002];
                for (region, within) in
                    object.regions.iter().flat_map(|of| parts.iter().map(move |part| (of, part)))
                {
                    let within = within.start..within.end.min(bad.len());
                    let clipped = object.clipped(region, &within);
                    let inside = |(part, _): &(Range<usize>, Records)| {
                        within.start <= part.start && part.end <= within.end
                    };
                    assert!(clipped.as_ref().is_none_or(inside), "{clipped:?} of {within:?}");
                }
                if at % 4 == 3 {
                    learn(&object, &bad, &Object::parse(&file).unwrap(), &file);
                }
            }
        }
    }
}

/// Headers of many sections over the same bytes: each byte is looked at once.
#[test]
fn sections_over_each_other_are_one() {
    let frames = words(&[12, 0, 0, 0]).repeat(2000);
    let section = (".eh_frame", PROGBITS, LOADED, 0x1000, &frames[..]);
    let mut file = elf(&[section; 60], false);
    let table = file.len() - 64 * 62;
    for header in 2..61 {
        let first = file[table + 64 + 24..table + 64 + 32].to_vec();
        file[table + header * 64 + 24..table + header * 64 + 32].copy_from_slice(&first);
    }
    let program = Object::parse(&file).unwrap();
    assert_eq!((program.regions.len(), program.frames.len()), (1, 2000));
}
