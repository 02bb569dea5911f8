//! What a release costs the devices that have another one, way by way, before anybody fetches it.
//!
//! The ways that Seesaw has are those of a device: [`fetch_plan`](crate::fetch_plan) decides there and
//! here.

mod block_hashes;
mod chart;
mod fleet;

use std::io;
use std::num::NonZero;

use crate::build::{EncodeError, Encoding, measure};
use crate::bundle::{Bundle, BundleError};
use crate::delta::Advance;
use crate::fetch_plan::{Costs, Offered, Wanted, may_lie_in_a_slot};
use crate::format::delta::{Head, head_len};
use crate::format::seekable::{FrameError, SeekTable, SeekTableError, tail_len};
use crate::format::{GROUP, Image, Role};
use crate::tree::{Levels, TreeError};
use crate::{ReadAt, workers};

pub use block_hashes::block_hashes;
pub use chart::{Bar, Group, chart};
pub use fleet::{Bits, NoRate, Size, Time, Way, WayCosts};

/// An image as it is offered: its tree, and where the frames of its full payload are.
#[derive(Debug)]
pub struct Offer {
    image: Image,
    levels: Levels,
    table: SeekTable,
}

/// Costs that cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The release cannot be read.
    #[error(transparent)]
    Release(#[from] BundleError),
    /// The full payload cannot be made.
    #[error("cannot make the full payload")]
    Encode(#[from] EncodeError),
    /// The tree that was made is no image's.
    #[error("cannot make the tree")]
    Tree(#[from] TreeError),
    /// The seek table that was made is no payload's.
    #[error("cannot make the seek table")]
    SeekTable(#[from] SeekTableError),
    /// An image cannot be read.
    #[error("cannot read the {image} image")]
    Read {
        /// Old or new.
        image: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// zstd failed.
    #[error("cannot compress blocks")]
    Compress(#[from] FrameError),
}

impl Offer {
    /// As a release has it.
    pub fn of_release(release: &Bundle, image: &Image) -> Result<Self, BundleError> {
        let full = release.image_full(&image.root)?;
        let (table, levels) = (release.seek_table(image, &full)?, release.levels(image)?);
        Ok(Self { image: image.clone(), levels, table })
    }

    /// As a release would have it, were it built of a root file system of so many bytes. Nothing of the
    /// payload is kept.
    pub fn of_image(
        (bytes, len): (&dyn ReadAt, u64),
        encoding: &Encoding,
        advance: &Advance<'_>,
    ) -> Result<Self, SimulateError> {
        let measured = measure((bytes, len), encoding, advance)?;
        let (size, salt) = (measured.image_size, encoding.salt.clone());
        let image = Image { role: Role::Root, size, salt, root: measured.tree.root };
        let levels = Levels::verify(&image, measured.tree.levels)?;
        let table = SeekTable::parse(&measured.tail, size, measured.full_size)?;
        Ok(Self { image, levels, table })
    }

    /// The image.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// What a device fetches whose booted slot holds the first image of the pair; its target slot holds
    /// nothing of the second. The delta, if any, is one between them.
    pub fn costs(
        &self,
        (old, old_size): (&dyn ReadAt, u64),
        delta: Option<&Head>,
        threads: NonZero<usize>,
        advance: &Advance<'_>,
    ) -> Result<Costs, SimulateError> {
        let Self { image, levels, table } = self;
        let all = Wanted::all(levels);
        let mut both = all.clone();
        let has = |buffer: &mut Vec<u8>, group| {
            let Some(range) = levels.shape().group(group) else { return Ok(false) };
            let bytes = &mut buffer[..(range.end - range.start) as usize];
            advance(bytes.len() as u64);
            // What lies behind the old image in its partition, nobody knows.
            if range.end > old_size || !may_lie_in_a_slot(image.role, group) {
                return Ok(false);
            }
            old.fill_at(bytes, range.start)
                .map_err(|source| SimulateError::Read { image: "old", source })?;
            Ok(levels.check_group(group, bytes).is_ok())
        };
        let buffer = || Ok(vec![0; GROUP]);
        workers::in_order((threads, levels.group_count()), buffer, has, |group, has| {
            if has {
                both.satisfied(group);
            }
            Ok::<_, SimulateError>(())
        })?;
        let offered = Offered {
            levels,
            table,
            delta,
            index_bytes: levels.shape().levels_size() + tail_len(image.size),
            head_bytes: delta.map_or(0, |_| head_len(image.size)),
        };
        Ok(Costs::of(&offered, &all, &both))
    }
}

#[cfg(test)]
mod tests;
