//! The agent's whole chain on an image file: real publisher, real server, real
//! agent, and the boot decision in the selector's place. Nothing boots here.

mod bad_input;
mod broken_state;
mod chain;
mod commands;
mod deltas;
mod faults;
mod killed;
mod killed_in;
mod liars;
mod links;
mod old_devices;
mod python_tuf;
mod running;
mod soak;
mod tls;
mod words;
