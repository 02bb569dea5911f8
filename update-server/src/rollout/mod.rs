//! What a device is to do, decided by pure functions of policy and report.

mod decide;
mod destination;
mod path;
mod policy;
mod report;
mod verdict;

pub use decide::{Decision, decide};
pub use destination::{Fleet, destination};
pub use policy::{ChannelPolicy, CompatiblePolicy, Flow, Offer, Policy};
pub use report::{DeviceReport, Slot};
pub use verdict::{Hold, Reason, Verdict};
