//! Disks as they leave the factory.

mod create;
pub mod esp;
mod state;

pub use create::{CreatedDisk, DiskError, NewDisk, SlotSizes, create};
pub use state::StateError;
