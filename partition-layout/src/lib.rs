//! The slot table of an A/B disk: what is on it, which slot boots next, and how a change of
//! mind reaches the medium without ever leaving the disk unbootable.
//!
//! Without the `std` feature this is the core that the UEFI boot selector links: reading and
//! validating a GPT ([`Table`]), the [`boot_decision`], the change of one table copy, and the
//! [`BootReport`]. With `std` it adds devices, layouts, [`commit`] and disk creation.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod attributes;
mod blocks;
mod boot_decision;
mod boot_report;
pub mod entry;
mod guid;
pub mod header;
pub mod kernel_entries;
pub mod kernel_image;
mod slot;
pub mod table;

#[cfg(feature = "std")]
mod boot_order_table;
#[cfg(feature = "std")]
pub mod commit;
#[cfg(feature = "std")]
pub mod create;
#[cfg(feature = "std")]
pub mod device;
#[cfg(feature = "std")]
pub mod layout;
#[cfg(feature = "std")]
pub mod preflight;
#[cfg(feature = "std")]
mod protective_mbr;
#[cfg(feature = "std")]
pub mod slot_table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use attributes::{BootAttributes, Nibble, NibbleOutOfRange, SlotState};
pub use blocks::{Geometry, GeometryError, ReadBlocks};
pub use boot_decision::{Attempt, BootOrder, Reason, boot_decision};
pub use boot_report::{BootReport, BootReportError, Refusal, StartFailure};
pub use entry::Entry;
pub use guid::{Guid, GuidError};
pub use kernel_entries::KernelEntries;
pub use kernel_image::{KernelImage, KernelImageError};
pub use slot::SlotLetter;
pub use table::{CopyPlace, Table, TableCopy, TableError};

#[cfg(feature = "std")]
pub use boot_order_table::boot_order_table;
#[cfg(feature = "std")]
pub use commit::{CommitError, Durable, Repair, commit, commit_with, repair_backup};
#[cfg(feature = "std")]
pub use create::{CreateError, DiskPlan, create_disk};
#[cfg(feature = "std")]
pub use device::{Access, AlignedBuf, BlockDevice, DiskFile, OpenError};
#[cfg(feature = "std")]
pub use layout::{Layout, LayoutError};
#[cfg(feature = "std")]
pub use preflight::{PreflightError, PreflightReport, preflight};
#[cfg(feature = "std")]
pub use slot_table::{
    CopiesHealth, CopyHealth, DiscoverError, DoesNotFit, Partition, Slot, SlotTable,
};
