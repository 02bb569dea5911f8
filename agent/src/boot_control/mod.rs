//! All that the agent knows of a boot loader. Every step takes what the step
//! before it left: nothing is made unbootable for a release that cannot be had,
//! nothing is staged into a slot that could start, nothing is
//! activated that was not read back or confirmed, nothing is confirmed that
//! nobody vouched for.

mod error;
mod evidence;
mod gpt;
mod in_use;
mod transition;
mod twin;

use std::path::Path;

use partition_layout::{Durable, SlotLetter};

pub use error::BootError;
pub use evidence::{Evidence, EvidenceError};
pub use gpt::{BootSource, GptBootControl};
pub use in_use::{Holder, NotFree};
pub use transition::{TRIES, TransitionError};

use crate::install::{ImageExtents, Prepared, StagePlan, Staged, TargetContent};
use crate::update::{Named, Seen};

/// One slot as it stands on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRecord {
    /// What the machine sees of it.
    pub seen: crate::update::SeenSlot,
    /// Number of its kernel's partition entry, from 1.
    pub entry: u32,
    /// GUID of its kernel partition.
    pub partuuid: partition_layout::Guid,
    /// Its bits.
    pub attributes: partition_layout::BootAttributes,
}

/// What stands behind a slot that is to become next.
#[derive(Debug)]
pub enum Ready {
    /// It was just written, and every byte read back.
    Staged(Staged),
    /// It ran confirmed before, and still holds this release.
    Installed(InstalledSlot),
}

/// A slot whose confirmed release was seen just now. Only [`BootControl::installed`] makes one.
#[derive(Debug)]
pub struct InstalledSlot {
    letter: SlotLetter,
}

/// What an undone activation leaves in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// The release that ran confirmed before: it stays there, behind the booted one.
    Confirmed,
    /// A release that never ran: unbootable.
    Unbootable,
}

/// Who vouches for the booted slot. Only the health checks and a person make one.
#[derive(Debug)]
pub struct Vouched(());

impl Vouched {
    /// From the result of the health checks.
    pub fn by_checks(healthy: crate::health::Healthy) -> Self {
        let crate::health::Healthy { .. } = healthy;
        Self(())
    }

    /// From a person's explicit word.
    pub fn by_person() -> Self {
        Self(())
    }
}

/// A boot loader with two slots.
pub trait BootControl: Send {
    /// The disk, as shown to people.
    fn source(&self) -> &Path;

    /// The device as it is now.
    ///
    /// # Errors
    /// The disk cannot be read or holds no slots.
    fn seen(&self) -> Result<Seen, BootError>;

    /// Both slots as they stand on the disk.
    ///
    /// # Errors
    /// As [`Self::seen`].
    fn slots(&self) -> Result<[SlotRecord; 2], BootError>;

    /// The slot that the next boot starts.
    ///
    /// # Errors
    /// As [`Self::seen`].
    fn predict(&self) -> Result<Option<SlotLetter>, BootError>;

    /// The slot `letter`, where it holds `release` confirmed; `None` for a slot
    /// that names no release.
    ///
    /// # Errors
    /// It holds something else by now.
    fn installed(
        &self,
        letter: SlotLetter,
        release: Option<&Named>,
    ) -> Result<InstalledSlot, BootError>;

    /// Where the kernel and the root of the target are, and those of the booted slot.
    ///
    /// # Errors
    /// The disk cannot be read, or the target runs.
    fn extents(&self, target: SlotLetter) -> Result<[ImageExtents; 2], BootError>;

    /// Checks that the disk may be written, makes the target unbootable, and
    /// says where in it the images go.
    ///
    /// # Errors
    /// Nothing but the attributes of the target has changed.
    fn make_unbootable(
        &mut self,
        target: SlotLetter,
        release: Prepared,
        content: TargetContent,
    ) -> Result<StagePlan, BootError>;

    /// Makes the target next, with [`TRIES`] tries.
    ///
    /// # Errors
    /// The commit point was not reached, or its outcome is unknown.
    fn activate(&mut self, target: SlotLetter, ready: Ready) -> Result<Durable, BootError>;

    /// Undoes an activation.
    ///
    /// # Errors
    /// As [`Self::activate`].
    fn cancel(&mut self, target: SlotLetter, undo: Undo) -> Result<Durable, BootError>;

    /// Confirms the booted slot.
    ///
    /// # Errors
    /// As [`Self::activate`].
    fn confirm(&mut self, vouched: Vouched) -> Result<Durable, BootError>;

    /// Marks a slot failed: the booted one by its own verdict, the other after a fallback.
    ///
    /// # Errors
    /// As [`Self::activate`].
    fn mark_failed(&mut self, slot: SlotLetter) -> Result<Durable, BootError>;

    /// Brings the second table copy up to date with the first, which alone the
    /// selector writes.
    ///
    /// # Errors
    /// The copy is as it was, or its outcome is unknown.
    fn sync(&mut self) -> Result<(), BootError>;
}

/// The arithmetic of the steps, for models of a disk.
#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::transition::Pair;
}
