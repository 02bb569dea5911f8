//! What has to be true of a whole image: each of its groups was checked against
//! the tree. `payload verify` and `payload disk` ask it of what a payload holds.

mod coverage;
mod expand;

pub use coverage::{CompleteImage, Coverage, Incomplete};
pub use expand::{Accept, ExpandError, check_segment, expand};
