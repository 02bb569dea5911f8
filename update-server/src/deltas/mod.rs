//! Deltas that the server makes by itself, for what its fleet really runs: no key is needed, since a
//! device checks what a delta makes. What is to be made is a pure function of policy and reports
//! ([`plan`]); the work is done by a process of its own, of low priority, which may die at any time.

pub mod child;
mod figures;
mod jail;
mod maker;
pub mod plan;
mod round;
pub mod wanted;

use std::num::NonZero;

use crate::names::Hash;

pub use figures::{DeltaFigures, DeltaRow, Deltas, RowState};
pub use plan::{Plan, Standing};
pub use round::keep_making;

/// The images that a delta is between. In the order in which they are planned where nothing else
/// decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// Root of the image that it makes.
    pub to: Hash,
    /// Root of the image that it is made of.
    pub from: Hash,
}

/// What making deltas may take of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaBudget {
    /// Cores; `None`: no deltas are made.
    pub threads: Option<NonZero<usize>>,
    /// Memory of the process that makes one.
    pub memory_bytes: u64,
    /// Room for those that are kept.
    pub disk_bytes: u64,
}

impl DeltaBudget {
    /// Cores, where nobody says otherwise.
    pub const THREADS_DEFAULT: usize = 1;
    /// MiB of memory, where nobody says otherwise.
    pub const MEMORY_MIB_DEFAULT: u64 = 1536;
    /// MiB of deltas, where nobody says otherwise.
    pub const DISK_MIB_DEFAULT: u64 = 8192;
}

impl Default for DeltaBudget {
    fn default() -> Self {
        Self {
            threads: NonZero::new(Self::THREADS_DEFAULT),
            memory_bytes: Self::MEMORY_MIB_DEFAULT << 20,
            disk_bytes: Self::DISK_MIB_DEFAULT << 20,
        }
    }
}
