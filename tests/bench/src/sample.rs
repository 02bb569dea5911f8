//! One run of a contender.

use std::time::Duration;

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// From start to end.
    pub wall: Duration,
    /// Processor time of the contender's processes, not of the server.
    pub cpu: Duration,
    /// Most memory of its control group, page cache included.
    pub memory_peak_bytes: u64,
    /// Body bytes that the server sent.
    pub wire_bytes: u64,
    /// Bytes written to the target, per byte of the images.
    pub write_ratio: f64,
}
