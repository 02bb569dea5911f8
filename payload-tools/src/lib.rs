//! Makes, signs, checks and publishes Seesaw payloads.

#[cfg(feature = "authoring")]
pub mod disk;
