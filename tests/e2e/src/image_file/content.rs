//! What is in the images of a release.

use payload_tools::testing::noise;

/// Bytes of a root that is fetched in no time.
pub(super) const SMALL_ROOT: u64 = 2 << 20;

/// Half of a small root is the same in every release, and none of it compresses; of a larger one
/// all is the release's own.
pub(super) fn root_of(len: u64, counter: u64) -> Vec<u8> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > SMALL_ROOT as usize {
        return noise(counter, len).into_iter().map(|byte| byte & 0x0F).collect();
    }
    [noise(99, len / 2), noise(counter, len / 2)].concat()
}
