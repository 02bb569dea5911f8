//! The device's side of Seesaw. Where an update is decided: `update`;
//! downloaded: `client` and `install`; written: `install`; tried: `health`;
//! confirmed: `boot_control`.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod boot_control;
pub mod client;
pub mod config;
pub mod daemon;
pub mod device;
pub mod health;
pub mod hooks;
pub mod identity;
pub mod install;
pub mod ipc;
pub mod journal;
mod poison;
pub mod reboot;
pub mod status;
pub mod strategy;
pub mod update;
pub mod updatectl;

/// An error with its causes, needed throughout: reqwest, for one, keeps what
/// matters in them.
pub(crate) use payload_tools::error_chain::one_line as chain;
