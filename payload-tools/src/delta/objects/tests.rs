use super::*;
use crate::delta::continuations::Continuation;
use crate::delta::files::{ImageFile, Piece};
use crate::format::BLOCK;
use crate::format::delta::adjust::{ENTRY_LEN, Records};
use crate::testing::noise;

const KERNEL_TYPES: u32 = 1000;
const KERNEL_NAMES: u32 = 5000;

/// What a module is made of.
#[derive(Clone)]
pub(in crate::delta) struct Source {
    code: Vec<u8>,
    /// Types of the kernel that pointers refer to.
    pointers: Vec<u32>,
    /// The kernel's types and names, how many.
    kernel: [u32; 2],
    /// Places in the code that are referred to, by relocations and by symbols.
    places: Vec<u64>,
    strings: &'static [u8],
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl Source {
    pub fn old(seed: u64) -> Self {
        Self {
            code: noise(seed, 3000),
            pointers: (0..40).map(|n| n * 25).collect(),
            kernel: [KERNEL_TYPES, KERNEL_NAMES],
            places: (0..50).map(|n| n * 60).collect(),
            strings: b"\0first\0second\0",
        }
    }

    /// One whose numbers are in no order, so that how they moved is not seen by counting.
    pub fn unordered(seed: u64) -> Self {
        let numbers = noise(seed + 1000, 180);
        let numbers = numbers.chunks(2).map(|n| u16::from_le_bytes([n[0], n[1]]));
        let mut old = Self::old(seed);
        old.places
            .iter_mut()
            .zip(numbers.clone())
            .for_each(|(place, n)| *place = u64::from(n % 3000));
        old.pointers.iter_mut().zip(numbers).for_each(|(of, n)| *of = u32::from(n % 1000));
        old
    }

    /// What became of it with a new kernel, which has 7 types more from 500 on and 30 bytes of
    /// names, and with 16 bytes more of code at 1000.
    pub fn renewed(&self) -> Self {
        let mut new = self.clone();
        new.code.splice(1000..1000, noise(99, 16));
        let moved = |place: &u64| place + if *place >= 1000 { 16 } else { 0 };
        new.places = self.places.iter().map(moved).collect();
        new.pointers = self.pointers.iter().map(|of| of + if *of >= 500 { 7 } else { 0 }).collect();
        new.kernel = [KERNEL_TYPES + 7, KERNEL_NAMES + 30];
        new
    }

    fn types(&self) -> Vec<u8> {
        let [types, names] = self.kernel;
        // Prototypes first, of which the functions are that follow the pointers.
        let mut all = vec![[0, 13 << 24, 0]; 3];
        all.extend(self.pointers.iter().map(|of| [0, 2 << 24, *of]));
        all.extend([1, 0, 2].map(|own| [names + 1, 12 << 24, types + own]));
        all.push([names + 7, 12 << 24, types]);
        let types: Vec<u8> = all.iter().flat_map(|record| words(record)).collect();
        let [types_len, strings_len] = [types.len() as u32, self.strings.len() as u32];
        let header = words(&[0x0001_EB9F, 24, 0, types_len, types_len, strings_len]);
        [&header, &types[..], self.strings].concat()
    }

    fn symbols(&self) -> Vec<u8> {
        // Symbol 1 stands for section 1, the code.
        let mut all = [words(&[0; 6]), words(&[0, 1 << 16 | 3, 0, 0, 0, 0])].concat();
        for place in &self.places {
            all.extend(words(&[1, 1 << 16 | 2, *place as u32, 0, 8, 0]));
        }
        all
    }

    fn relocations(&self) -> Vec<u8> {
        let each = |place: &u64| words(&[*place as u32, 0, 2, 1, *place as u32 + 4, 0]);
        self.places.iter().flat_map(each).collect()
    }

    pub fn build(&self) -> Vec<u8> {
        let names = b"\0.text\0.rela.text\0.symtab\0.BTF\0.names\0";
        let sections: [(u32, u32, u32, u32, Vec<u8>); 6] = [
            (0, 0, 0, 0, Vec::new()),
            (1, 1, 0, 0, self.code.clone()),
            (7, 4, 3, 1, self.relocations()),
            (18, 2, 0, 0, self.symbols()),
            (26, 1, 0, 0, self.types()),
            (31, 3, 0, 0, names.to_vec()),
        ];
        let mut file = vec![0; 64];
        let mut headers = Vec::new();
        for (name, kind, link, info, bytes) in sections {
            file.resize(file.len().next_multiple_of(8), 0);
            let (at, len) = (file.len() as u32, bytes.len() as u32);
            headers.extend(words(&[name, kind, 0, 0, 0, 0, at, 0, len, 0, link, info, 8, 0, 0, 0]));
            file.extend(bytes);
        }
        let table = file.len().next_multiple_of(8);
        file.resize(table, 0);
        file.extend(headers);
        file[..6].copy_from_slice(b"\x7FELF\x02\x01");
        file[16] = 1;
        file[40..48].copy_from_slice(&(table as u64).to_le_bytes());
        file[58] = 64;
        [file[60], file[62]] = [6, 5];
        file
    }
}

/// Images of modules, one after another, and which continues which.
fn images(pairs: &[Pair]) -> (Vec<u8>, Vec<u8>, Continuations) {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    let put = |image: &mut Vec<u8>, file: &[u8]| {
        let start = image.len() as u64;
        image.extend(file);
        image.resize(image.len().next_multiple_of(BLOCK), 0);
        let pieces = vec![Piece { at: 0, image: start..image.len() as u64 }];
        ImageFile { path: Vec::new(), len: file.len() as u64, pieces }
    };
    let all = pairs
        .iter()
        .map(|(was, is)| Continuation { old: put(&mut old, was), new: put(&mut new, is) });
    let all = Continuations::new(all.collect());
    (old, new, all)
}

/// An old module and a new one.
pub(in crate::delta) type Pair = (Vec<u8>, Vec<u8>);

pub(in crate::delta) fn learn(sources: &[(Source, Source)]) -> (Objects, Vec<Pair>) {
    let built = |(old, new): &(Source, Source)| (old.build(), new.build());
    let pairs: Vec<_> = sources.iter().map(built).collect();
    (learn_files(&pairs), pairs)
}

pub(in crate::delta) fn learn_files(pairs: &[Pair]) -> Objects {
    let (old, new, files) = images(pairs);
    Objects::learn(&files, (&old, &new), NonZero::new(2).unwrap()).unwrap()
}

#[test]
fn numbers_are_where_their_counterparts_are() {
    let sources: Vec<_> = (1..4).map(Source::old).map(|old| (old.clone(), old.renewed())).collect();
    let (objects, pairs) = learn(&sources);
    assert_eq!(objects.own, [KERNEL_TYPES, KERNEL_NAMES].map(u64::from));
    assert_eq!(objects.all.len(), pairs.len());
    for (index, (old, new)) in pairs.iter().enumerate() {
        let module = &objects.all[&index];
        let adjusted = objects.adjusted(module, old);
        let is = Object::parse(new).unwrap();
        let regions = module.old.regions.iter().zip(&is.regions);
        assert_eq!(regions.len(), 3);
        for ((was, records), (is, _)) in regions {
            assert!(adjusted[was.clone()] == new[is.clone()], "module {index}: {records:?}");
        }
    }
}

#[test]
fn one_that_disagrees_is_overruled() {
    let mut sources: Vec<_> =
        (1..5).map(Source::old).map(|old| (old.clone(), old.renewed())).collect();
    // Its pointers were other types of the kernel's.
    sources[2].1.pointers.iter_mut().for_each(|of| *of = (*of + 50) % 900);
    let (objects, _) = learn(&sources);
    for of in sources[0].0.pointers.iter().map(|of| u64::from(*of)) {
        let is = of + if of >= 500 { 7 } else { 0 };
        assert_eq!(objects.kernel[0].moved(of), is, "{of}");
    }
}

/// Where the code went is known by its bytes; what refers elsewhere now changes nothing of that.
#[test]
fn code_is_where_its_bytes_are() {
    let old = Source::old(1);
    let mut new = old.renewed();
    // A relocation and a symbol that refer to another place than before.
    new.places[30] += 4;
    // Code that is there twice now is still where it was.
    let again = new.code[1240..1320].to_vec();
    new.code.extend(again);
    let (objects, _) = learn(&[(old, new)]);
    let mut moved = ShiftMap::default();
    moved.push(1020, 16);
    assert_eq!(objects.all[&0].maps.get(&Domain::Section(1)), Some(&moved));
}

#[test]
fn what_is_whole_of_a_region_is_kept() {
    let file = Source::old(1).build();
    let object = Object::parse(&file).unwrap();
    let whole = 0..file.len();
    for region in &object.regions {
        assert_eq!(object.clipped(region, &whole).as_ref(), Some(region));
        let (start, end) = (region.0.start, region.0.end);
        let step = if region.1 == Records::Types { 12 } else { ENTRY_LEN };
        for (from, past, expected) in [
            (1, 0, Some(start + step..end)),
            (step, step, Some(start + step..end - step)),
            (0, 1, Some(start..end - step)),
            (1, end - start - step, None),
        ] {
            let clipped = object.clipped(region, &(start + from..end - past));
            let expected = expected.map(|range| (range, region.1));
            assert_eq!(clipped, expected, "{:?}", region.1);
        }
        assert_eq!(object.clipped(region, &(0..start)), None);
        assert_eq!(object.clipped(region, &(end..file.len() + 1)), None);
    }
}

#[test]
fn a_damaged_module_never_panics() {
    let file = Source::old(1).build();
    let places = noise(5, 4000);
    for (round, flips) in places.chunks(4).enumerate() {
        let mut damaged = file.clone();
        // Headers and the table, where it hurts, more often than contents.
        let table = file.len() - 6 * 64;
        let at = usize::from(u16::from_le_bytes([flips[0], flips[1]]));
        let at = if round % 2 == 0 { table + at % (6 * 64) } else { at % file.len() };
        damaged[at] = flips[2];
        damaged.truncate(file.len() - usize::from(flips[3]) % 3 * 100);
        let (old, new, files) = images(&[(damaged.clone(), file.clone()), (file.clone(), damaged)]);
        Objects::learn(&files, (&old, &new), NonZero::<usize>::MIN).unwrap();
    }
}
