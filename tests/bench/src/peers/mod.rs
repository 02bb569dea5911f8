//! Other people's ways to the same bytes in slot B's root.

mod pipeline;
mod updaters;

pub(crate) use pipeline::pipeline;
pub(crate) use updaters::{Updater, Updaters};

use payload_tools::format::Role;

use crate::cgroup::measure;
use crate::disk::Loop;
use crate::{BenchError, FileServer, Release, Sample};

/// Runs `command`, which writes the root image of `release` to `device`. The kernel, which ours
/// installs too, is left out.
fn sample(
    command: &[String],
    release: &Release,
    server: &FileServer,
    device: &Loop,
) -> Result<Sample, BenchError> {
    let (sent, written) = (server.bytes_sent(), device.bytes_written()?);
    let (cost, _) = measure(command)?;
    let image = release.image(Role::Root)?;
    Ok(Sample {
        wall: cost.wall,
        cpu: cost.cpu,
        memory_peak_bytes: cost.memory_peak_bytes,
        wire_bytes: server.bytes_sent() - sent,
        write_ratio: (device.bytes_written()? - written) as f64 / image.size as f64,
    })
}
