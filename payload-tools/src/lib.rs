//! Payloads of the Seesaw update system: what they are made of, how they are
//! built, and how a device checks them.
//!
//! - [`format`]: the bytes of manifests, payload files and release folders (docs/formats.md).
//! - [`bundle`]: reading a release from a folder or one file.
//! - [`tree`]: the dm-verity tree, the only commitment to an image.
//! - [`trust`]: what a device may believe: metadata, releases, whether to go to one.
//! - [`repository`]: a whole repository of metadata, as server and publisher hold it.
//! - [`verify`]: an image is complete when each of its groups was checked.
//! - [`durable_file`]: writing a file so that a power cut leaves the old or the new one.
//! - [`error_chain`]: an error and its causes in words; [`journal`]: who reads a service's.
//! - `jail`: taking from a process what its work does not need; `confined`: decoding in such a one.
//! - [`fetch_plan`]: which segments are fetched, from where, and what each way to a release costs.
//! - `delta`: making a payload out of the image that devices have.
//! - `keyring`: private keys in files and on tokens.
//! - `sign`, `publish`: a release's way into a repository and to a server.
//! - `simulate`: what each way to a release costs a fleet, before it is published.
//! - `admin`: a client of that server, for its operators too.
//!
//! Without the `authoring`, `admin`, `delta` and `jail` features only what a device needs is built.

#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "authoring")]
pub mod build;
pub mod bundle;
#[cfg(feature = "authoring")]
pub mod cli;
#[cfg(feature = "jail")]
pub mod confined;
#[cfg(feature = "delta")]
pub mod delta;
#[cfg(feature = "authoring")]
pub mod disk;
pub mod durable_file;
pub mod error_chain;
pub mod fetch_plan;
pub mod format;
#[cfg(feature = "jail")]
pub mod jail;
pub mod journal;
#[cfg(feature = "authoring")]
pub mod keyring;
#[cfg(feature = "authoring")]
pub mod publish;
mod read_at;
pub mod repository;
#[cfg(feature = "authoring")]
pub mod sign;
#[cfg(feature = "authoring")]
pub mod simulate;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tree;
pub mod trust;
pub mod verify;
mod workers;

pub use read_at::ReadAt;
