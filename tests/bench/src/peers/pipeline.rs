//! What one would type, `curl | zstd -d | dd`.

use payload_tools::format::Role;

use super::sample;
use crate::{BenchError, FileServer, Release, Sample, TestDisk};

/// It verifies nothing and reads nothing back.
pub(crate) fn pipeline(
    release: &Release,
    server: &FileServer,
    disk: &TestDisk,
) -> Result<Sample, BenchError> {
    let script = format!(
        "set -o pipefail; curl -sS --fail {url}/v1/images/{root}/full | zstd -d -c | \
         dd of={device} bs=4M iflag=fullblock oflag=direct,seek_bytes conv=fsync \
         seek={offset} status=none",
        url = server.url(),
        root = release.image(Role::Root)?.root,
        device = disk.device.path().display(),
        offset = disk.root().offset,
    );
    sample(&["bash".to_owned(), "-c".to_owned(), script], release, server, &disk.device)
}
