//! Disks as they leave the factory.

pub mod esp;
