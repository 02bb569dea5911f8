//! Attacks on a device, each a folder in tests/attacks/fixtures: who attacks, with what, and what
//! the device must do, as a file that people read, that the tests run against the real programs, and
//! that docs/threat-model.md shows as a table.
#![forbid(unsafe_code)]

pub mod fixture;
pub mod repository;
pub mod scene;
pub mod table;
