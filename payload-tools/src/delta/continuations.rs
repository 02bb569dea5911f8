//! Files of the new image that continue files of the old one.

use std::io;
use std::ops::Range;

use super::files::{ImageFile, Piece, files, pairs::pairs};
use crate::ReadAt;
use crate::format::BLOCK;

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

/// Those of a pair of images.
#[derive(Debug, Default)]
pub(super) struct Continuations {
    all: Vec<Continuation>,
    /// The pieces of the new files in the order in which they lie in the image, and whose they are.
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
        let pieces_of = |(index, file): (usize, &Continuation)| {
            let images = file.new.pieces.iter().map(|piece| piece.image.clone());
            images.map(move |image| (image, index)).collect::<Vec<_>>()
        };
        let mut places: Vec<_> = all.iter().enumerate().flat_map(pieces_of).collect();
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

    /// Its blocks, if they lie one behind the other but for holes.
    pub fn in_one_piece(&self) -> Option<Range<u64>> {
        let (first, last) = (self.pieces.first()?, self.pieces.last()?);
        let follows = |pair: &[Piece]| pair[0].image.end == pair[1].image.start;
        self.pieces.windows(2).all(follows).then_some(first.image.start..last.image.end)
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
