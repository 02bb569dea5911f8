//! Whose the bytes of an image are.

use std::io;
use std::ops::Range;

use partition_layout::kernel_image::{HEAD_SIZE, KernelImage};

use super::{FileClass, SizedImage};
use crate::delta::files::{ImageFile, apart};
use crate::delta::view::View;

/// A file of an image, or a section of a kernel image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub path: String,
    pub class: FileClass,
}

/// The files of an image and where their bytes lie there.
#[derive(Debug, Default)]
pub(super) struct Owners {
    pub all: Vec<Owner>,
    /// In the order of the image; none overlaps another.
    places: Vec<(Range<u64>, usize)>,
}

impl Owners {
    /// Those of a file system, as its view has them, or of a kernel image; none of anything else. A packed
    /// block is of the first file that has something in it.
    pub fn of(
        view: &View<'_>,
        files: Vec<ImageFile>,
        (image, size): SizedImage<'_>,
    ) -> io::Result<Self> {
        let mut owners = Self::default();
        let mut places = Vec::new();
        // What is said of a file is none: no name has a zero.
        for file in files.into_iter().filter(|file| !file.path.ends_with(&[0])) {
            let class = FileClass::of(&file.path, &file.read_start(view)?);
            let path = String::from_utf8_lossy(&file.path).into_owned();
            let stored = file.pieces.iter().flat_map(|piece| view.stored(&piece.image));
            places.extend(stored.map(|stored| (stored, owners.all.len())));
            owners.all.push(Owner { path, class });
        }
        if owners.all.is_empty() {
            let mut head = vec![0; size.min(HEAD_SIZE as u64) as usize];
            image.fill_at(&mut head, 0)?;
            for section in KernelImage::parse(&head, size).iter().flat_map(KernelImage::sections) {
                let path = String::from_utf8_lossy(&section.name);
                let path = path.trim_end_matches('\0').to_owned();
                let class = FileClass::of_section(&path);
                places.push((section.bytes, owners.all.len()));
                owners.all.push(Owner { path, class });
            }
        }
        owners.places = apart(places);
        Ok(owners)
    }

    /// The parts of a range of the image: where each ends, and whose it is, if any file's.
    pub fn parts(&self, range: &Range<u64>) -> Vec<(u64, Option<usize>)> {
        let first = self.places.partition_point(|(place, _)| place.end <= range.start);
        let mut parts = Vec::new();
        let mut at = range.start;
        for (place, owner) in &self.places[first..] {
            if place.start >= range.end {
                break;
            }
            if place.start > at {
                parts.push((place.start, None));
            }
            at = place.end.min(range.end);
            parts.push((at, Some(*owner)));
        }
        if at < range.end {
            parts.push((range.end, None));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;
    use crate::testing::{noise, uki};

    #[expect(clippy::ptr_arg, reason = "an image is read from a vector")]
    fn owners(image: &Vec<u8>) -> Owners {
        let image: SizedImage<'_> = (image, image.len() as u64);
        let (view, files) = View::open(image.0, image.1, NonZero::<usize>::MIN).unwrap();
        Owners::of(&view, files, image).unwrap()
    }

    #[test]
    fn every_byte_of_a_range_is_of_one_part() {
        let places = apart(vec![(8..12, 1), (0..4, 0), (12..30, 2), (28..31, 3)]);
        let owners = Owners { all: Vec::new(), places };
        let parts = |range| owners.parts(&range);
        let (zero, one, two) = (Some(0), Some(1), Some(2));
        assert_eq!(parts(0..40), [(4, zero), (8, None), (12, one), (30, two), (40, None)]);
        assert_eq!(parts(2..3), [(3, zero)]);
        assert_eq!(parts(5..9), [(8, None), (9, one)]);
        assert_eq!(parts(4..8), [(8, None)]);
        assert_eq!(parts(30..31), [(31, None)]);
    }

    #[test]
    fn a_kernel_image_has_sections_and_noise_has_nothing() {
        let image = uki(&[(".linux", &noise(1, 5000)), (".osrel", b"NAME=x")]);
        let owners = owners(&image);
        let owner = |path: &str, class| Owner { path: path.to_owned(), class };
        let linux = owner(".linux", FileClass::PackedKernel);
        assert_eq!(owners.all, [linux, owner(".osrel", FileClass::Data)]);
        assert_eq!(
            owners.parts(&(0..6700)),
            [(1024, None), (6144, Some(0)), (6656, Some(1)), (6700, None)]
        );
        let owners = super::tests::owners(&noise(2, 8192));
        assert_eq!((owners.all.len(), owners.parts(&(0..8192))), (0, vec![(8192, None)]));
    }
}
