//! What is in the images of a release.

/// Bytes of a root that is fetched in no time.
pub(super) const SMALL_ROOT: u64 = 2 << 20;

/// Half of a small root is the same in every release, and none of it compresses; of a larger one
/// all is the release's own.
pub(super) fn root_of(len: u64, counter: u64) -> Vec<u8> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > SMALL_ROOT as usize {
        return pseudo_random(counter).map(|byte| byte & 0x0F).take(len).collect();
    }
    pseudo_random(99).take(len / 2).chain(pseudo_random(counter).take(len / 2)).collect()
}

/// Bytes that do not compress (xorshift64*).
pub(super) fn pseudo_random(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    })
}
