//! HTTP in, domain out: what docs/protocol.md promises.

pub mod admin;
pub mod device;
mod error;
pub(crate) mod extract;
mod files;
pub mod operations;

pub use error::ApiError;
