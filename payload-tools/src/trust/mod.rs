//! What a device may believe: The Update Framework, as docs/protocol.md (Metadata) uses it.
//!
//! People sign what may be installed, with keys that are on no server; the server signs only what
//! is newest. [`Client`] checks a repository, ours or any other of The Update Framework,
//! [`verify_bundle`] a file that came by hand, and [`policy`] says whether this device may go to a
//! release that was found. None of them does I/O or asks the clock.

mod bundle;
mod client;
mod error;
mod json;
pub mod key;
pub(crate) mod metadata;
mod pattern;
pub mod policy;
mod release;
pub(crate) mod role;
pub(crate) mod root_chain;
mod search;
mod target;
pub mod time;
pub mod timestamp;
mod trusted;
pub(crate) mod trusted_set;

pub use bundle::verify_bundle;
pub use client::{Client, Limits, MAX_ROLES, MAX_ROOTS, Reply, Step};
pub use error::{Malformed, Misbehaviour, TrustError};
pub use key::{KeyError, KeyId, PublicKey, SigningKey};
pub use metadata::Files;
#[cfg(feature = "authoring")]
pub(crate) use release::path_of;
pub use release::{SignedRelease, TargetError, TargetFault};
pub use role::{Role, RoleName};
pub use target::Target;
pub use time::{ClockFloor, TimeError, UnixTime};
pub use trusted::{Freshness, Trusted};

#[cfg(all(test, feature = "authoring"))]
mod tests;
