//! Staging: from a verified manifest to a target slot that holds exactly what
//! was signed, and still cannot be booted.
//!
//! [`prepare`] comes first, while the target is still what it was; only then is
//! the target made unbootable, and [`stage`] takes what both left.
//! Nothing is written before its block group chains to the signed root, and
//! the kernel's first block is written only after the whole slot was read back
//! from the medium. The types carry both: a [`checked::CheckedRun`] is the only
//! thing a partition can be given, a [`read_back::ReadBack`] the only key to
//! the kernel's head.

mod checked;
mod costs;
mod crew;
mod delta;
mod error;
mod head;
mod index;
mod pipeline;
mod plan;
mod progress;
mod read_back;
mod scan;
mod schedule;
mod segment;
mod source;
mod stage;
mod survey;

pub use costs::Download;
pub use error::{HeadStep, InstallError, Place};
pub use index::{DeltaOffer, ImageIndex, Prepared, prepare};
pub use payload_tools::fetch_plan::Costs;
pub use plan::{Extent, ImageExtents, ImagePlan, StagePlan, TargetContent};
pub use progress::{Phase, Progress, Report};
pub use source::{
    Allowance, BundleSource, End, HttpSource, OverBudget, Patience, PayloadReader, PayloadSource,
    SourceError, StopWord,
};
pub use stage::{Staged, stage};
pub use survey::survey;

#[cfg(test)]
pub(crate) mod tests;
