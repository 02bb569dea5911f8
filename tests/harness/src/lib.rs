//! What the demo and the tests of the whole product stand on: programs, images, firmware, QEMU.

pub mod programs;
