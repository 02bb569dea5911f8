//! The agent's whole chain on an image file: real publisher, real server, real
//! agent, and the boot decision in the selector's place. Nothing boots here.

mod broken_state;
mod chain;
mod commands;
mod faults;
mod killed;
mod liars;
mod old_devices;
mod python_tuf;
mod running;
