//! The files of an image, where their bytes lie, and which file of an old image
//! one of a new image continues.

mod erofs;
mod ext4;
mod flaw;
pub(in crate::delta) mod layout;
mod names;
mod numbers;
pub(in crate::delta) mod pairs;
mod squashfs;

use std::io;
use std::ops::Range;

use crate::ReadAt;
use crate::format::BLOCK;
use flaw::Flaw;
use layout::Layout;

/// A regular file of an image, and where its bytes lie there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delta) struct ImageFile {
    /// From the root of the image, without a slash before it.
    pub path: Vec<u8>,
    /// Bytes of the file.
    pub len: u64,
    /// Its whole blocks, in its order, neighbouring ones merged. What lies in none of them is
    /// zeroes: `mke2fs -d` makes a hole of every block of zeroes, so that many programs and kernel
    /// modules have some. The last block may be longer than the file.
    pub pieces: Vec<Piece>,
}

/// Bytes of a file that lie one behind the other in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delta) struct Piece {
    /// Where they begin in the file.
    pub at: u64,
    /// Where they lie in the image.
    pub image: Range<u64>,
}

/// Memory for names: of some four million files.
const NAMES_MAX: usize = 512 << 20;
/// Larger gaps between the blocks of a file are none of its.
const GAP_MAX: u64 = 16 * BLOCK as u64;

impl ImageFile {
    /// Where it lies in the image, as if small gaps were its own: between the blocks of a file with
    /// holes lies what says where they are.
    pub fn runs(&self) -> Vec<Range<u64>> {
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
    pub fn in_one_run(&self) -> Option<Range<u64>> {
        let [run] = <[Range<u64>; 1]>::try_from(self.runs()).ok()?;
        Some(run)
    }

    /// Which byte of the file is at this place of the image, or the next that is behind it.
    pub fn at(&self, place: u64) -> u64 {
        let next = self.pieces.iter().find(|piece| place < piece.image.end);
        next.map_or(self.len, |piece| piece.at + place.saturating_sub(piece.image.start))
    }

    /// Where in the image the block is that has this byte, or the next one that is there.
    pub fn place(&self, at: u64) -> u64 {
        let at = at / BLOCK as u64 * BLOCK as u64;
        let next = self.pieces.iter().find(|piece| at < piece.end());
        let end = self.pieces.last().map_or(0, |piece| piece.image.end);
        next.map_or(end, |piece| piece.image.start + at.saturating_sub(piece.at))
    }

    /// Its first block, or zeroes.
    pub fn read_start(&self, image: &dyn ReadAt) -> io::Result<Vec<u8>> {
        let mut block = vec![0; BLOCK];
        match self.pieces.first() {
            Some(piece) if piece.at == 0 => {
                let len = (piece.image.end - piece.image.start).min(BLOCK as u64);
                image.fill_at(&mut block[..len as usize], piece.image.start)?;
            }
            _ => {}
        }
        Ok(block)
    }

    /// The whole file.
    pub fn read(&self, image: &dyn ReadAt) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut file = vec![0; len];
        for piece in &self.pieces {
            let at = (piece.at as usize).min(file.len());
            let end = (piece.end() as usize).min(file.len());
            image.fill_at(&mut file[at..end], piece.image.start)?;
        }
        Ok(file)
    }
}

impl Piece {
    /// Where they end in the file.
    pub fn end(&self) -> u64 {
        self.at + (self.image.end - self.image.start)
    }
}

/// The regular files of an image, in the order in which they lie there, empty
/// ones first; none where it is no file system that is known or where its
/// structures do not hold. Of a file with several paths the first in byte order.
pub(in crate::delta) fn files(image: &dyn ReadAt, size: u64) -> io::Result<Vec<ImageFile>> {
    let files = match ext4::files(image, size, NAMES_MAX) {
        Ok(files) => files,
        Err(Flaw::Damaged) => Vec::new(),
        Err(Flaw::Io(error)) => return Err(error),
    };
    Ok(in_order(files))
}

/// What an image has of packed blocks, and the files in them; nothing where it is no file system of
/// such blocks that is known.
pub(in crate::delta) fn layout(image: &dyn ReadAt, size: u64) -> io::Result<Layout> {
    for read in [squashfs::layout, erofs::layout] {
        match read(image, size, NAMES_MAX) {
            Ok(layout) => return Ok(layout),
            Err(Flaw::Damaged) => {}
            Err(Flaw::Io(error)) => return Err(error),
        }
    }
    Ok(Layout::default())
}

/// Files in the order in which they lie in their image.
pub(in crate::delta) fn in_order(mut files: Vec<ImageFile>) -> Vec<ImageFile> {
    let place = |file: &ImageFile| file.pieces.first().map(|piece| piece.image.start);
    files.sort_by(|a, b| (place(a), &a.path).cmp(&(place(b), &b.path)));
    files
}

/// The places of an image in their order there, without those that begin within one before: no block
/// belongs to two files, whatever a file system says.
pub(in crate::delta) fn apart(mut places: Vec<(Range<u64>, usize)>) -> Vec<(Range<u64>, usize)> {
    places.sort_by_key(|(image, index)| (image.start, *index));
    let mut end = 0;
    places.retain(|(image, _)| {
        let is_behind = image.start >= end;
        end = end.max(image.end);
        is_behind
    });
    places
}

#[cfg(test)]
pub(in crate::delta) mod tests;
