//! Which segments of a release are fetched, from where, and what that costs: what a device does, and what
//! `payload simulate` tells beforehand.

mod costs;
mod wanted;

pub use costs::{Costs, Mib, Offered};
pub use wanted::{Job, Need, Origin, Wanted, bytes_in_segment, groups_of, may_lie_in_a_slot};
