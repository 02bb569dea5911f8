//! What has to be true of a whole image: each of its groups was checked against
//! the tree. `payload verify`, `publish` and `disk` ask it of what a payload holds.

mod coverage;
mod expand;
#[cfg(feature = "authoring")]
mod release;

pub use coverage::{CompleteImage, Coverage, Incomplete};
pub use expand::{Accept, Decoding, ExpandError, NotDecoded, check_segment, expand};
#[cfg(feature = "authoring")]
pub use release::{DamagedRelease, Whole, check_release};
