//! Payloads from a release folder or a bundle file.

use std::ops::Range;

use payload_tools::ReadAt;
use payload_tools::bundle::{Bundle, Part, delta_name, levels_name};
use payload_tools::format::{Hash, Image};

use super::{End, PayloadReader, PayloadSource, SourceError};

/// The payloads of an opened release.
pub struct BundleSource(Bundle);

impl BundleSource {
    /// A source over `bundle`, whose manifest was verified by the caller.
    pub fn new(bundle: Bundle) -> Self {
        BundleSource(bundle)
    }
}

fn unreadable<E>(what: &str) -> impl FnOnce(E) -> SourceError
where
    E: std::error::Error + Send + Sync + 'static,
{
    let what = what.to_owned();
    move |error| SourceError::Bundle { what, source: Box::new(error) }
}

impl PayloadSource for BundleSource {
    fn levels(&self, image: &Image, len: u64) -> Result<Vec<u8>, SourceError> {
        let name = levels_name(&image.root);
        self.0.part(&name).and_then(|part| part.bytes(len)).map_err(unreadable(&name))
    }

    fn tail(&self, image: &Image, len: u64) -> Result<End, SourceError> {
        let part = self.full(image)?;
        let start = part.len().checked_sub(len).ok_or_else(|| SourceError::WrongLength {
            url: part.name().to_owned(),
            expected: len,
            got: part.len(),
        })?;
        let bytes = part.slice(start, len).map_err(unreadable(part.name()))?;
        Ok(End { bytes, total: part.len() })
    }

    fn open(
        &self,
        image: &Image,
        range: Range<u64>,
    ) -> Result<Box<dyn PayloadReader + '_>, SourceError> {
        Ok(Box::new(PartReader { part: self.full(image)?, at: range.start }))
    }

    fn delta_head(&self, image: &Image, from: &Hash, len: u64) -> Result<End, SourceError> {
        let part = self.delta(image, from)?;
        let bytes = part.slice(0, len).map_err(unreadable(part.name()))?;
        Ok(End { bytes, total: part.len() })
    }

    fn open_delta(
        &self,
        image: &Image,
        from: &Hash,
        range: Range<u64>,
    ) -> Result<Box<dyn PayloadReader + '_>, SourceError> {
        Ok(Box::new(PartReader { part: self.delta(image, from)?, at: range.start }))
    }
}

impl BundleSource {
    fn delta(&self, image: &Image, from: &Hash) -> Result<Part, SourceError> {
        let name = delta_name(&image.root, from);
        self.0.part(&name).map_err(unreadable(&name))
    }

    fn full(&self, image: &Image) -> Result<Part, SourceError> {
        self.0.image_full(&image.root).map_err(unreadable(&format!("images/{}/full", image.root)))
    }
}

struct PartReader {
    part: Part,
    at: u64,
}

impl PayloadReader for PartReader {
    fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), SourceError> {
        self.part.fill_at(buf, self.at).map_err(unreadable(self.part.name()))?;
        self.at += buf.len() as u64;
        Ok(())
    }
}
