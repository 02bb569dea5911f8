//! What the demo and the tests of the whole product stand on: programs, images, firmware, QEMU.
#![forbid(unsafe_code)]

pub mod cargo;
pub mod command;
pub mod firmware;
pub mod guest_shell;
pub mod image;
pub mod mmdebstrap;
pub mod packages;
pub mod programs;
pub mod python_tuf;
pub mod qemu;
pub mod secure_boot;
pub mod selector;
pub mod soft_hsm;
pub mod venv;
