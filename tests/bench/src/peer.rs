//! The peer: what one would type, `curl | zstd -d | dd`.

use payload_tools::format::Role;

use crate::cgroup::measure;
use crate::{BenchError, FileServer, Release, Sample, TestDisk};

/// Writes the root image of `release` where our install writes it, measured.
/// It verifies nothing, reads nothing back, and leaves the kernel out.
pub(crate) fn pipeline(
    release: &Release,
    server: &FileServer,
    disk: &TestDisk,
) -> Result<Sample, BenchError> {
    let (sent, written) = (server.bytes_sent(), disk.device.bytes_written()?);
    let image = release.image(Role::Root)?;
    let script = format!(
        "set -o pipefail; curl -sS --fail {url}/v1/images/{root}/full | zstd -d -c | \
         dd of={device} bs=4M iflag=fullblock oflag=direct,seek_bytes conv=fsync \
         seek={offset} status=none",
        url = server.url(),
        root = image.root,
        device = disk.device.path().display(),
        offset = disk.root_offset(),
    );
    let (cost, _) = measure(&["bash".to_owned(), "-c".to_owned(), script])?;
    Ok(Sample {
        wall: cost.wall,
        cpu: cost.cpu,
        memory_peak_bytes: cost.memory_peak_bytes,
        wire_bytes: server.bytes_sent() - sent,
        write_ratio: (disk.device.bytes_written()? - written) as f64 / image.size as f64,
    })
}
