//! HTTP in, domain out: what docs/protocol.md promises.

pub mod admin;
mod carry;
pub mod device;
mod error;
pub(crate) mod extract;
mod files;
pub mod operations;

use carry::carried_through;
pub use error::ApiError;
