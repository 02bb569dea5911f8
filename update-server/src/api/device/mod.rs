//! What devices call. They are not authenticated yet: anyone who reaches the
//! server can ask and report as any device.

mod check;
mod download;
mod events;

pub use check::{CheckAnswer, check};
pub use download::{delta, full, levels, manifest, metadata};
pub use events::events;
