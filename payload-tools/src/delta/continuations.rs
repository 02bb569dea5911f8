//! Files of the new image that continue files of the old one.

use std::ops::Range;

use super::files::{ImageFile, apart, pairs::pairs};

/// Of a larger file not all of the old one is wanted for a part of the new one.
const WHOLE_MAX: u64 = 2 << 20;
/// How much more is wanted before and behind than the files differ in length.
const SLACK: u64 = 64 << 10;
/// Files that differ more in length are found by their content.
const DIFFER_MAX: u64 = 256 << 10;

/// A file of the new image and the one that it continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Continuation {
    pub new: ImageFile,
    pub old: ImageFile,
}

impl Continuation {
    /// Where in the old image that is what these bytes of the new one, some of the file's, go on
    /// from: the old file if it is small, or what lies about there in it. `None` where it does not
    /// lie in one run.
    pub fn continued(&self, new: &Range<u64>) -> Option<Range<u64>> {
        let whole = self.old.in_one_run()?;
        if whole.end - whole.start <= WHOLE_MAX {
            return Some(whole);
        }
        let differ = self.old.len.abs_diff(self.new.len);
        let slack = (differ <= DIFFER_MAX).then(|| differ + SLACK)?;
        let (start, end) = (self.new.at(new.start), self.new.at(new.end));
        let image =
            self.old.place(start.saturating_sub(slack))..self.old.place(end.saturating_add(slack));
        (image.start < image.end).then_some(image)
    }
}

/// Those of a pair of images.
#[derive(Debug, Default)]
pub(super) struct Continuations {
    all: Vec<Continuation>,
    /// The runs of the new files in the order in which they lie in the image, and whose they are.
    places: Vec<(Range<u64>, usize)>,
}

impl Continuations {
    /// Of the files of both images those that continue.
    pub fn of(old: &[ImageFile], new: Vec<ImageFile>) -> Self {
        let found = pairs(old, &new).into_iter().zip(new).filter_map(|(pair, new)| {
            let old = &old[pair?];
            // Of empty ones there is nothing to continue.
            let has_bytes = !new.pieces.is_empty() && !old.pieces.is_empty();
            has_bytes.then(|| Continuation { new, old: old.clone() })
        });
        Self::new(found.collect())
    }

    pub fn new(all: Vec<Continuation>) -> Self {
        let places_of = |(index, file): (usize, &Continuation)| {
            file.new.runs().into_iter().map(move |image| (image, index))
        };
        let places = apart(all.iter().enumerate().flat_map(places_of).collect());
        Self { all, places }
    }

    pub fn get(&self, index: usize) -> &Continuation {
        &self.all[index]
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// What new files have in this range of the new image, in order, and which files.
    pub fn within(&self, range: &Range<u64>) -> impl Iterator<Item = (Range<u64>, usize)> {
        let first = self.places.partition_point(|(image, _)| image.end <= range.start);
        let past = self.places.partition_point(|(image, _)| image.start < range.end);
        let (start, end) = (range.start, range.end);
        let cut = move |(image, index): &(Range<u64>, usize)| {
            (image.start.max(start)..image.end.min(end), *index)
        };
        self.places[first..past.max(first)].iter().map(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::files::Piece;

    const MIB: u64 = 1 << 20;

    fn lying(len: u64, pieces: &[(u64, Range<u64>)]) -> ImageFile {
        let piece = |(at, image): &(u64, Range<u64>)| Piece { at: *at, image: image.clone() };
        ImageFile { path: Vec::new(), len, pieces: pieces.iter().map(piece).collect() }
    }

    #[test]
    fn of_a_large_file_what_lies_about_there_is_wanted() {
        // A hole of 1 MiB at 3 MiB in the old one, none in the new one, which is 8 KiB longer.
        let old = lying(9 * MIB, &[(0, MIB..4 * MIB), (4 * MIB, 4 * MIB..9 * MIB)]);
        let new = lying(9 * MIB + 8192, &[(0, 20 * MIB..29 * MIB + 8192)]);
        let slack = SLACK + 8192;
        let file = Continuation { old, new };
        for (new, old) in [
            (20 * MIB..24 * MIB, MIB..4 * MIB + slack),
            (25 * MIB..29 * MIB, 5 * MIB - slack..9 * MIB),
            (23 * MIB + 4 * slack..23 * MIB + 5 * slack, 4 * MIB..4 * MIB),
        ] {
            let expected = (old.start < old.end).then_some(old);
            assert_eq!(file.continued(&new), expected, "{new:?}");
        }
    }

    #[test]
    fn small_files_are_wanted_whole_and_others_by_content() {
        let small = lying(MIB, &[(0, 3 * MIB..4 * MIB)]);
        let file = Continuation { old: small.clone(), new: lying(MIB, &[(0, 0..MIB)]) };
        assert_eq!(file.continued(&(0..4096)), Some(3 * MIB..4 * MIB));
        let scattered = lying(2 * MIB, &[(0, 0..MIB), (MIB, 2 * MIB..3 * MIB)]);
        let file = Continuation { old: scattered, new: small };
        assert_eq!(file.continued(&(3 * MIB..4 * MIB)), None);
        // A gap of a block is the file's.
        let gap = lying(2 * MIB, &[(0, 0..MIB), (MIB, MIB + 4096..2 * MIB)]);
        let file = Continuation { old: gap.clone(), new: gap };
        assert_eq!(file.continued(&(0..2 * MIB)), Some(0..2 * MIB));
        let [old, new] = [9 * MIB, 10 * MIB].map(|len| lying(len, &[(0, 0..len)]));
        assert_eq!(Continuation { old, new }.continued(&(0..4096)), None);
    }

    #[test]
    fn no_block_belongs_to_two_files() {
        let file = |start: u64, end: u64| {
            let new = lying(end - start, &[(0, start..end)]);
            Continuation { old: new.clone(), new }
        };
        let files = Continuations::new(vec![file(8192, 20480), file(0, 12288), file(20480, 24576)]);
        let within = |range| files.within(&range).collect::<Vec<_>>();
        assert_eq!(within(0..40960), [(0..12288, 1), (20480..24576, 2)]);
        assert_eq!(within(4096..8192), [(4096..8192, 1)]);
        assert_eq!(within(12288..20480), []);
    }
}
