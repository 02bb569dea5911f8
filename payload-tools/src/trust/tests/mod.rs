//! Whole checks against repositories that are made, and broken, for the purpose.

mod attacks;
mod bundles;
mod changed_bytes;
mod clock;
mod delegations;
mod graph;
mod rollover;
mod rotations;
mod world;
