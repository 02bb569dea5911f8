//! The update server: which device runs which release, and when.
//!
//! People sign *what* may be installed; this server decides *when*. It holds
//! no key that could make a device install something else.
#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod backup;
pub mod cli;
pub mod connections;
pub mod console;
pub mod data_folder;
pub mod deltas;
pub mod expiry;
pub mod last_seen;
pub mod metrics;
pub mod names;
pub mod payloads;
pub mod publish;
pub mod rollout;
pub mod router;
pub mod serve;
pub mod store;
pub mod timestamp_keys;
