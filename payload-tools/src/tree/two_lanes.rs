//! SHA-256 of two blocks at once with the processor's SHA instructions (FIPS
//! 180-4, 6.2). Each of them waits for the one before; a second message fills
//! that wait, which makes a tree's leaves nearly twice as fast.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi8, _mm_set_epi32,
    _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32,
};

use super::DIGEST;
use crate::format::BLOCK;

/// Bytes that SHA-256 takes at a time.
const CHUNK: usize = 64;

/// A salt whose whole chunks are absorbed.
#[derive(Clone, Debug)]
struct Salt {
    state: [u32; 8],
    rest: [u8; CHUNK],
    rest_len: usize,
    len: usize,
}

/// Hashes pairs of blocks, on a processor with SHA instructions.
#[derive(Clone, Debug)]
pub(super) struct TwoLanes(Salt);

impl TwoLanes {
    /// `None` where the processor lacks the instructions.
    pub fn new(salt: &[u8]) -> Option<Self> {
        let has_them = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("ssse3");
        has_them.then(|| {
            let (chunks, rest) = salt.as_chunks();
            let mut padded = [0; CHUNK];
            padded[..rest.len()].copy_from_slice(rest);
            // SAFETY: the processor has the features that the function asks for.
            #[expect(unsafe_code, reason = "the features were looked for at run time")]
            let state = unsafe { absorb(INITIAL, chunks) };
            Self(Salt { state, rest: padded, rest_len: rest.len(), len: salt.len() })
        })
    }

    /// The digests of two blocks, each after the salt.
    pub fn digests(&self, blocks: [&[u8; BLOCK]; 2]) -> [[u8; DIGEST]; 2] {
        // SAFETY: `new` made no value on a processor without the features.
        #[expect(unsafe_code, reason = "the features were looked for at run time")]
        unsafe {
            digests(&self.0, blocks)
        }
    }
}

#[target_feature(enable = "sha,sse4.1,ssse3")]
fn absorb(state: [u32; 8], chunks: &[[u8; CHUNK]]) -> [u32; 8] {
    let mut lane = Lane::load(state);
    for chunk in chunks {
        // The second lane's work is thrown away: a salt is short.
        [lane, _] = compress([lane; 2], [chunk; 2]);
    }
    lane.store()
}

#[target_feature(enable = "sha,sse4.1,ssse3")]
fn digests(salt: &Salt, blocks: [&[u8; BLOCK]; 2]) -> [[u8; DIGEST]; 2] {
    let mut lanes = [Lane::load(salt.state); 2];
    // What the salt leaves of its last chunk, so much of the block fills.
    let fill = CHUNK - salt.rest_len;
    let first = blocks.map(|block| {
        let mut chunk = salt.rest;
        chunk[salt.rest_len..].copy_from_slice(&block[..fill]);
        chunk
    });
    lanes = compress(lanes, [&first[0], &first[1]]);
    let [(a, a_rest), (b, b_rest)] = blocks.map(|block| block[fill..].as_chunks::<CHUNK>());
    for (a, b) in a.iter().zip(b) {
        lanes = compress(lanes, [a, b]);
    }
    let ends = [a_rest, b_rest].map(|rest| padded(rest, salt.len + BLOCK));
    let chunks = if salt.rest_len + 9 > CHUNK { 0..2 } else { 1..2 };
    for at in chunks {
        lanes = compress(lanes, [&ends[0][at], &ends[1][at]]);
    }
    lanes.map(|lane| {
        let mut digest = [0; DIGEST];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(lane.store()) {
            *bytes = word.to_be_bytes();
        }
        digest
    })
}

/// The end of a message of `len` bytes, padded (FIPS 180-4, 5.1.1): two chunks, of which a short
/// rest needs the second only.
fn padded(rest: &[u8], len: usize) -> [[u8; CHUNK]; 2] {
    let mut end = [[0; CHUNK]; 2];
    let bytes = end.as_flattened_mut();
    let start = if rest.len() + 9 > CHUNK { 0 } else { CHUNK };
    bytes[start..start + rest.len()].copy_from_slice(rest);
    bytes[start + rest.len()] = 0x80;
    bytes[2 * CHUNK - 8..].copy_from_slice(&(len as u64 * 8).to_be_bytes());
    end
}

/// A state as the instructions want it: words A, B, E, F and C, D, G, H.
#[derive(Clone, Copy)]
struct Lane {
    abef: __m128i,
    cdgh: __m128i,
}

impl Lane {
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn load(state: [u32; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
        Lane { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn store(self) -> [u32; 8] {
        let Lane { abef, cdgh } = self;
        let [a, b] = [_mm_extract_epi32::<3>(abef), _mm_extract_epi32::<2>(abef)];
        let [c, d] = [_mm_extract_epi32::<3>(cdgh), _mm_extract_epi32::<2>(cdgh)];
        let [e, f] = [_mm_extract_epi32::<1>(abef), _mm_extract_epi32::<0>(abef)];
        let [g, h] = [_mm_extract_epi32::<1>(cdgh), _mm_extract_epi32::<0>(cdgh)];
        [a, b, c, d, e, f, g, h].map(i32::cast_unsigned)
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn add(self, other: Self) -> Self {
        let abef = _mm_add_epi32(self.abef, other.abef);
        Lane { abef, cdgh: _mm_add_epi32(self.cdgh, other.cdgh) }
    }

    /// Rounds 4R to 4R + 3. `words` are the last sixteen of the message schedule.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn rounds<const R: usize>(&mut self, words: &mut [__m128i; 4]) {
        if R >= 4 {
            let [oldest, older, newer, newest] = [0, 1, 2, 3].map(|age| words[(R + age) % 4]);
            let sum = _mm_add_epi32(
                _mm_sha256msg1_epu32(oldest, older),
                _mm_alignr_epi8::<4>(newest, newer),
            );
            words[R % 4] = _mm_sha256msg2_epu32(sum, newest);
        }
        let [k0, k1, k2, k3] = K[R].map(u32::cast_signed);
        let sum = _mm_add_epi32(words[R % 4], _mm_set_epi32(k3, k2, k1, k0));
        // Two rounds turn A, B, E, F into the next C, D, G, H.
        self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, sum);
        self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, _mm_shuffle_epi32::<0x0E>(sum));
    }
}

/// The words of a chunk, four to a register.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn words(chunk: &[u8; CHUNK]) -> [__m128i; 4] {
    let swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    let (halves, _) = chunk.as_chunks::<8>();
    let half = |at: usize| i64::from_le_bytes(halves[at]);
    let register = |at: usize| _mm_shuffle_epi8(_mm_set_epi64x(half(at + 1), half(at)), swap);
    [register(0), register(2), register(4), register(6)]
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn compress(lanes: [Lane; 2], chunks: [&[u8; CHUNK]; 2]) -> [Lane; 2] {
    let [mut a, mut b] = lanes;
    let [mut of_a, mut of_b] = [words(chunks[0]), words(chunks[1])];
    macro_rules! rounds {
        ($($four:literal)*) => {$(
            a.rounds::<$four>(&mut of_a);
            b.rounds::<$four>(&mut of_b);
        )*};
    }
    rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    [lanes[0].add(a), lanes[1].add(b)]
}

/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// FIPS 180-4, 4.2.2, four to a register.
#[rustfmt::skip]
const K: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn two_lanes(salt: &[u8]) -> TwoLanes {
        let lacks =
            "this processor lacks SHA instructions: `cargo xtask test` leaves these tests out";
        TwoLanes::new(salt).expect(lacks)
    }

    fn of_each(salt: &[u8], block: &[u8]) -> [u8; DIGEST] {
        Sha256::new_with_prefix(salt).chain_update(block).finalize().into()
    }

    proptest! {
        #[test]
        fn two_blocks_hash_as_each_alone(
            salt in proptest::collection::vec(any::<u8>(), 0..=256),
            blocks in proptest::collection::vec(any::<u8>(), 2 * BLOCK),
        ) {
            let lanes = two_lanes(&salt);
            let (blocks, _) = blocks.as_chunks();
            let digests = lanes.digests([&blocks[0], &blocks[1]]);
            prop_assert_eq!(digests, [&blocks[0], &blocks[1]].map(|block| of_each(&salt, block)));
        }
    }

    /// Where the salt ends in its chunk decides how many chunks the end takes.
    #[test]
    fn salts_of_every_length() {
        let block = [7; BLOCK];
        let salts = [0x5A; 256];
        for len in 0..=salts.len() {
            let lanes = two_lanes(&salts[..len]);
            let digest = of_each(&salts[..len], &block);
            assert_eq!(lanes.digests([&block; 2]), [digest; 2], "{len}");
        }
    }
}
