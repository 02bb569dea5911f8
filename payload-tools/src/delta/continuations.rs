//! Files of the new image that continue files of the old one.

use std::io;
use std::ops::Range;

use super::files::{ImageFile, Piece, files, pairs::pairs};
use crate::ReadAt;
use crate::format::BLOCK;

/// Of a larger file not all of the old one is wanted for a part of the new one.
const WHOLE_MAX: u64 = 2 << 20;
/// How much more is wanted before and behind than the files differ in length.
const SLACK: u64 = 64 << 10;
/// Larger gaps between the blocks of a file are none of its.
const GAP_MAX: u64 = 16 * BLOCK as u64;
/// Files that differ more in length are found by their content.
const DIFFER_MAX: u64 = 256 << 10;

/// A file of the new image and the one that it continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Continuation {
    pub new: Lying,
    pub old: Lying,
}

/// Where a file lies in its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lying {
    /// Its bytes, with its holes.
    pub len: u64,
    /// Its blocks, in the file's order.
    pub pieces: Vec<Piece>,
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
        let image = self.old.place(start.saturating_sub(slack))..self.old.place(end + slack);
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
    /// Reads what both images have of file systems; none where they have none that is known. An
    /// error names its image.
    pub fn of(
        (old, old_size): (&dyn ReadAt, u64),
        (new, new_size): (&dyn ReadAt, u64),
    ) -> Result<Self, (&'static str, io::Error)> {
        let old = files(old, old_size).map_err(|error| ("old", error))?;
        let new = files(new, new_size).map_err(|error| ("new", error))?;
        let found = pairs(&old, &new).into_iter().zip(&new).filter_map(|(pair, new)| {
            Some(Continuation { new: Lying::of(new)?, old: Lying::of(&old[pair?])? })
        });
        Ok(Self::new(found.collect()))
    }

    pub fn new(all: Vec<Continuation>) -> Self {
        let places_of = |(index, file): (usize, &Continuation)| {
            file.new.runs().into_iter().map(move |image| (image, index))
        };
        let mut places: Vec<_> = all.iter().enumerate().flat_map(places_of).collect();
        places.sort_by_key(|(image, index)| (image.start, *index));
        // No block belongs to two files, whatever a file system says.
        let mut end = 0;
        places.retain(|(image, _)| {
            let is_behind = image.start >= end;
            end = end.max(image.end);
            is_behind
        });
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

impl Lying {
    fn of(file: &ImageFile) -> Option<Self> {
        let is_known = usize::try_from(file.len).is_ok() && !file.pieces.is_empty();
        is_known.then(|| Self { len: file.len, pieces: file.pieces.clone() })
    }

    /// Where it lies in the image, as if small gaps were its own: between the blocks of a file with
    /// holes lies what says where they are.
    fn runs(&self) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for Piece { image, .. } in &self.pieces {
            match runs.last_mut() {
                Some(run) if (run.end..=run.end + GAP_MAX).contains(&image.start) => {
                    run.end = image.end;
                }
                _ => runs.push(image.clone()),
            }
        }
        runs
    }

    /// All of it, if it is one run.
    fn in_one_run(&self) -> Option<Range<u64>> {
        let [run] = <[Range<u64>; 1]>::try_from(self.runs()).ok()?;
        Some(run)
    }

    /// Which byte of the file is at this place of the image, or the next that is behind it.
    fn at(&self, place: u64) -> u64 {
        let next = self.pieces.iter().find(|piece| place < piece.image.end);
        next.map_or(self.len, |piece| piece.at + place.saturating_sub(piece.image.start))
    }

    /// Where in the image the block is that has this byte, or the next one that is there.
    fn place(&self, at: u64) -> u64 {
        let at = at / BLOCK as u64 * BLOCK as u64;
        let next = self.pieces.iter().find(|piece| at < piece.end());
        let end = self.pieces.last().map_or(0, |piece| piece.image.end);
        next.map_or(end, |piece| piece.image.start + at.saturating_sub(piece.at))
    }

    /// Its first block, or zeroes.
    pub fn read_start(&self, image: &dyn ReadAt) -> io::Result<Vec<u8>> {
        let mut block = vec![0; BLOCK];
        match self.pieces.first() {
            Some(piece) if piece.at == 0 => image.fill_at(&mut block, piece.image.start)?,
            _ => {}
        }
        Ok(block)
    }

    /// The whole file.
    pub fn read(&self, image: &dyn ReadAt) -> io::Result<Vec<u8>> {
        // It fits; else it would not be here.
        let mut file = vec![0; self.len as usize];
        for piece in &self.pieces {
            let at = (piece.at as usize).min(file.len());
            let end = (piece.end() as usize).min(file.len());
            image.fill_at(&mut file[at..end], piece.image.start)?;
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn lying(len: u64, pieces: &[(u64, Range<u64>)]) -> Lying {
        let piece = |(at, image): &(u64, Range<u64>)| Piece { at: *at, image: image.clone() };
        Lying { len, pieces: pieces.iter().map(piece).collect() }
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
        // A block between two of a file's is no gap.
        let gap = lying(2 * MIB, &[(0, 0..MIB), (MIB, MIB + 4096..MIB + 8192)]);
        let file = Continuation { old: gap.clone(), new: gap };
        assert_eq!(file.continued(&(0..MIB + 8192)), Some(0..MIB + 8192));
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
