//! The device's side of Seesaw.

pub mod install;
