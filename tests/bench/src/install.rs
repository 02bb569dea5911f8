//! Our contender.

use std::path::Path;

use crate::cgroup::{Throttle, measure_throttled};
use crate::{BenchError, FileServer, Release, Sample, TestDisk};

/// What an install makes use of.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// The full payloads alone.
    Full,
    /// What slot A holds, by this manifest, and the deltas from there.
    Booted(&'a Path),
}

/// Installs `release` into slot B with `program` (`bench-install`), measured.
pub fn install(
    program: &Path,
    release: &Release,
    way: Way<'_>,
    server: &FileServer,
    disk: &TestDisk,
) -> Result<Sample, BenchError> {
    install_throttled(program, release, way, (server, disk), None)
}

/// The same with a slower disk.
pub(crate) fn install_throttled(
    program: &Path,
    release: &Release,
    way: Way<'_>,
    (server, disk): (&FileServer, &TestDisk),
    throttle: Option<&Throttle>,
) -> Result<Sample, BenchError> {
    let (sent, written) = (server.bytes_sent(), disk.device.bytes_written()?);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut command = vec![
        text(program),
        format!("--url={}", server.url()),
        format!("--manifest={}", text(&release.manifest_path())),
        format!("--disk={}", text(disk.device.path())),
    ];
    if let Way::Booted(manifest) = way {
        command.push(format!("--booted={}", text(manifest)));
    }
    let (cost, _) = measure_throttled(&command, throttle)?;
    let images: u64 = release.manifest.images.iter().map(|image| image.size).sum();
    Ok(Sample {
        wall: cost.wall,
        cpu: cost.cpu,
        memory_peak_bytes: cost.memory_peak_bytes,
        wire_bytes: server.bytes_sent() - sent,
        write_ratio: (disk.device.bytes_written()? - written) as f64 / images as f64,
    })
}
