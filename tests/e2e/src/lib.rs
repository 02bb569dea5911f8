//! The product put together: a publisher, a server and devices, as the demo and the tests use them.
#![forbid(unsafe_code)]

pub mod command;
pub mod counter;
pub mod demo;
pub mod image_file;
pub mod judge;
pub mod liar;
pub mod loop_device;
pub mod publisher;
pub mod quick;
mod running;
pub mod server;
pub mod soak;
pub mod tls;
pub mod words;

/// The board of every device here.
pub const COMPATIBLE: &str = "demo-x86_64";

pub use running::Running;
