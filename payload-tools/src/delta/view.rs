//! An image as a delta sees it: what its packed blocks hold, in place of the blocks.
//!
//! The bytes of a view are stretches of the image, one behind the other, each from a whole block on:
//! what is between runs of packed blocks as it is, and the content of each run, with zeroes behind it.
//! An image without such runs is one stretch, and its own view.

mod levels;
mod run;

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::files::layout::{LaidFile, Layout, Lie, Run};
use super::files::{self, ImageFile, Piece};
use crate::format::BLOCK;
use crate::format::delta::codec::{Codec, Coder};
use crate::format::delta::repack::Item;
use crate::{ReadAt, workers};

use run::{PackedRun, groups, holds, unpack};

/// Unpacked blocks that are kept: neighbouring ranges often lie in one.
const KEPT: usize = 32;

/// An image, unpacked.
pub(super) struct View<'a> {
    image: &'a dyn ReadAt,
    /// Bytes of the view, whole blocks.
    size: u64,
    stretches: Vec<Stretch>,
    runs: Vec<PackedRun>,
    coders: Mutex<Vec<Coder>>,
    kept: Mutex<Kept>,
}

/// The contents of blocks, each by its run and its index there.
type Kept = VecDeque<((usize, usize), Arc<Vec<u8>>)>;

/// Bytes of the image that lie together, and where the view has them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stretch {
    stored: Range<u64>,
    /// Where in the view its content begins; for bytes as they are, the block that they begin in.
    content: Range<u64>,
    /// A run, or bytes as they are.
    run: Option<usize>,
}

/// A part of an image that a segment has something of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes as they are, as many as there are of it in the view.
    Plain { stored: Range<u64>, content: Range<u64> },
    /// A whole block.
    Packed { codec: Codec, stored: Range<u64>, content: Range<u64> },
}

impl Unit {
    /// Where its blocks lie in the image: a packed one is one.
    pub fn blocks(self) -> Vec<Range<u64>> {
        match self {
            Self::Packed { stored, .. } => vec![stored],
            Self::Plain { stored, .. } => {
                let starts = stored.clone().step_by(BLOCK);
                starts.map(|start| start..stored.end.min(start + BLOCK as u64)).collect()
            }
        }
    }
}

impl<'a> View<'a> {
    /// Reads what an image has of a file system, and which regular files that has.
    pub fn open(
        image: &'a dyn ReadAt,
        size: u64,
        threads: NonZero<usize>,
    ) -> io::Result<(Self, Vec<ImageFile>)> {
        let layout = files::layout(image, size)?;
        if layout == Layout::default() {
            return Ok((Self::of(image, size, Vec::new()), files::files(image, size)?));
        }
        let Layout { runs, files, records } = layout;
        let good = Mutex::new(vec![false; runs.len()]);
        let next = AtomicUsize::new(0);
        workers::run(threads, || -> io::Result<()> {
            let mut coder = Coder::new().map_err(io::Error::other)?;
            while let Some((index, run)) = Some(next.fetch_add(1, Ordering::Relaxed))
                .and_then(|index| Some((index, runs.get(index)?)))
            {
                let holds = holds(run, image, &mut coder)?;
                good.lock().unwrap_or_else(PoisonError::into_inner)[index] = holds;
            }
            Ok(())
        })?;
        let good = good.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Where each run has gone; those that do not hold are bytes like others.
        let mut places = Vec::with_capacity(runs.len());
        let mut kept = Vec::new();
        for (run, good) in runs.into_iter().zip(good) {
            places.push(good.then_some(kept.len()));
            kept.extend(good.then_some(run));
        }
        let view = Self::of(image, size, kept);
        // No name has a zero.
        let records = records.into_iter().map(|mut record| {
            record.path.push(0);
            record
        });
        let files = files.into_iter().chain(records);
        let files = files.filter_map(|file| view.lay(file, &places)).collect();
        Ok((view, files::in_order(files)))
    }

    fn of(image: &'a dyn ReadAt, size: u64, runs: Vec<Run>) -> Self {
        let runs: Vec<PackedRun> = runs.into_iter().map(PackedRun::of).collect();
        let (mut stretches, mut at, mut end) = (Vec::new(), 0, 0u64);
        let block = BLOCK as u64;
        let mut plain = |stored: Range<u64>, end: &mut u64| {
            if stored.start < stored.end {
                let whole = stored.start / block * block..stored.end.next_multiple_of(block);
                let content = *end..*end + (whole.end - whole.start);
                *end = content.end;
                stretches.push(Stretch { stored, content, run: None });
            }
        };
        let mut packed = Vec::new();
        for (index, run) in runs.iter().enumerate() {
            let start = run.run.start;
            plain(at..start, &mut end);
            at = start + run.stored_len();
            let content = end..end + run.content_len();
            end = content.end.next_multiple_of(block);
            packed.push(Stretch { stored: start..at, content, run: Some(index) });
        }
        plain(at..size, &mut end);
        stretches.extend(packed);
        stretches.sort_by_key(|stretch| stretch.stored.start);
        let (coders, kept) = (Mutex::default(), Mutex::default());
        Self { image, size: end, stretches, runs, coders, kept }
    }

    /// Bytes of the view, whole blocks.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether there are blocks that were unpacked.
    pub fn is_packed(&self) -> bool {
        !self.runs.is_empty()
    }

    /// The codecs of its blocks, each once.
    pub fn codecs(&self) -> Vec<Codec> {
        let mut codecs: Vec<_> = self.runs.iter().map(|run| run.run.codec).collect();
        codecs.sort_unstable();
        codecs.dedup();
        codecs
    }

    /// What there is in this range of the image.
    pub fn units(&self, range: &Range<u64>) -> Vec<Unit> {
        let first = self.stretches.partition_point(|stretch| stretch.stored.end <= range.start);
        let mut units = Vec::new();
        for stretch in &self.stretches[first..] {
            if stretch.stored.start >= range.end {
                break;
            }
            match stretch.run.map(|run| &self.runs[run]) {
                None => {
                    let start = stretch.stored.start.max(range.start);
                    let end = stretch.stored.end.min(range.end);
                    let content = stretch.plain_content(start)..stretch.plain_content(end);
                    units.push(Unit::Plain { stored: start..end, content });
                }
                Some(run) => units.extend(run.units(range, stretch.content.start)),
            }
        }
        units
    }

    /// What makes this range of the view, whole blocks, by the codecs' numbers.
    pub fn items(&self, range: &Range<u64>, number: &dyn Fn(Codec) -> u64) -> Vec<Item> {
        let mut items = Vec::new();
        for (stretch, part) in self.overlapping(range) {
            items.push(match stretch.run.map(|run| &self.runs[run]) {
                None => {
                    let start = stretch.plain_stored(part.start);
                    Item::Stored(start..start + (part.end - part.start))
                }
                Some(run) => {
                    let from = part.start - stretch.content.start;
                    let blocks = run.blocks_with(from..from + (part.end - part.start));
                    let first = blocks.start;
                    let skip = from - run.content[first];
                    Item::Packed {
                        codec: number(run.run.codec),
                        start: run.run.start + run.stored[first],
                        groups: groups(&run.run, blocks),
                        content: skip..skip + (part.end - part.start),
                    }
                }
            });
        }
        items
    }

    /// The stretches of a range of the view, and what of it each has with the zeroes behind it.
    fn overlapping(&self, range: &Range<u64>) -> impl Iterator<Item = (&Stretch, Range<u64>)> {
        let ends = |stretch: &Stretch| stretch.content.end.next_multiple_of(BLOCK as u64);
        let range = range.clone();
        let first = self.by_content(range.start);
        let last = range.end;
        self.stretches[first..]
            .iter()
            .take_while(move |stretch| stretch.content.start < last)
            .map(move |stretch| {
                let part = stretch.content.start.max(range.start)..ends(stretch).min(range.end);
                (stretch, part)
            })
            .filter(|(_, part)| part.start < part.end)
    }

    /// The first stretch that ends behind this place of the view. They are in one order in both.
    fn by_content(&self, at: u64) -> usize {
        let block = BLOCK as u64;
        self.stretches.partition_point(|stretch| stretch.content.end.next_multiple_of(block) <= at)
    }

    /// Where the image has what makes this range of the view, by whole blocks where they are packed.
    pub fn stored(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        self.items(range, &|_| 0).iter().map(Item::stored).collect()
    }

    /// The file as the view has it.
    fn lay(&self, file: LaidFile, places: &[Option<usize>]) -> Option<ImageFile> {
        let mut pieces = Vec::new();
        for piece in file.pieces {
            let image = match piece.lie {
                Lie::Run { index, content } => {
                    let run = (*places.get(index)?)?;
                    let start = self.start_of(run)?;
                    start + content.start..start + content.end
                }
                Lie::Image(stored) => self.plain(&stored)?,
            };
            pieces.push(Piece { at: piece.at, image });
        }
        Some(ImageFile { path: file.path, len: file.len, pieces })
    }

    /// Where in the view a run's content begins.
    fn start_of(&self, run: usize) -> Option<u64> {
        let start = self.runs.get(run)?.run.start;
        let at =
            self.stretches.binary_search_by_key(&start, |stretch| stretch.stored.start).ok()?;
        Some(self.stretches[at].content.start)
    }

    /// Where the view has bytes as they are.
    fn plain(&self, stored: &Range<u64>) -> Option<Range<u64>> {
        let at = self.stretches.partition_point(|stretch| stretch.stored.end <= stored.start);
        let stretch = self.stretches.get(at).filter(|stretch| stretch.run.is_none())?;
        let is_within = stretch.stored.start <= stored.start && stored.end <= stretch.stored.end;
        is_within.then(|| stretch.plain_content(stored.start)..stretch.plain_content(stored.end))
    }

    /// The content of a block, unpacked now or a moment ago.
    fn block(&self, run: usize, block: usize) -> io::Result<Arc<Vec<u8>>> {
        let kept = |kept: &Kept| {
            kept.iter().find(|(key, _)| *key == (run, block)).map(|(_, content)| content.clone())
        };
        if let Some(content) = kept(&self.kept.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(content);
        }
        let coder = self.coders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut coder = match coder {
            Some(coder) => coder,
            None => Coder::new().map_err(io::Error::other)?,
        };
        let packed = &self.runs[run];
        let Range { start, end } = packed.stored_at(block);
        let mut stored = vec![0; (end - start) as usize];
        self.image.fill_at(&mut stored, start)?;
        let content = unpack(&packed.run, &packed.run.blocks[block], &stored, &mut coder);
        let content = Arc::new(content.ok_or_else(|| io::Error::other("a block has changed"))?);
        self.coders.lock().unwrap_or_else(PoisonError::into_inner).push(coder);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(((run, block), content.clone()));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(content)
    }
}

impl ReadAt for View<'_> {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.size);
        let range = offset..end.ok_or(io::ErrorKind::UnexpectedEof)?;
        for (stretch, part) in self.overlapping(&range) {
            let place = (part.start - offset) as usize..(part.end - offset) as usize;
            let place = &mut buf[place];
            let Some(index) = stretch.run else {
                self.image.fill_at(place, stretch.plain_stored(part.start))?;
                continue;
            };
            let run = &self.runs[index];
            let from = part.start - stretch.content.start;
            let (mut made, wanted) = (0, from..from + (part.end - part.start));
            for block in run.blocks_with(wanted) {
                let content = self.block(index, block)?;
                let skip = from.saturating_sub(run.content[block]) as usize;
                let content = &content[skip.min(content.len())..];
                let len = content.len().min(place.len() - made);
                place[made..made + len].copy_from_slice(&content[..len]);
                made += len;
            }
            place[made..].fill(0);
        }
        Ok(())
    }
}

impl Stretch {
    /// Where in the view this byte of the image is, of bytes as they are.
    fn plain_content(&self, stored: u64) -> u64 {
        self.content.start + (stored - self.stored.start / BLOCK as u64 * BLOCK as u64)
    }

    /// The other way.
    fn plain_stored(&self, content: u64) -> u64 {
        self.stored.start / BLOCK as u64 * BLOCK as u64 + (content - self.content.start)
    }
}

#[cfg(test)]
mod tests;
