//! What the demo tells while it runs: numbered steps with their times, commands with their output.

use std::time::Instant;

/// Tells a person at a terminal how far the flow is.
pub struct Narrator {
    started: Instant,
}

impl Narrator {
    pub(super) fn new() -> Self {
        Self { started: Instant::now() }
    }

    pub(super) fn step(&self, number: u32, text: &str) {
        println!("\n[{number}] {:>4.0} s  {text}", self.started.elapsed().as_secs_f64());
    }

    pub(super) fn note(&self, text: &str) {
        println!("    {:>4.0} s  {text}", self.started.elapsed().as_secs_f64());
    }

    pub(super) fn command(&self, command: &str, output: &str) {
        println!("           # {command}");
        for line in output.lines() {
            println!("           {line}");
        }
    }
}
