//! Kernel images that boot nothing, for tests and for the demo without QEMU.

#[cfg(feature = "testing")]
pub mod taken_over;

/// Text of an `.osrel` section, built on 2026-11-01.
pub fn osrel(compatible: &str, release: &str, counter: u64) -> String {
    format!(
        "NAME=\"Demo\"\nIMAGE_VERSION={release}\nSEESAW_COMPATIBLE={compatible}\n\
         SEESAW_COUNTER=\"{counter}\"\nSEESAW_BUILT=2026-11-01T00:00:00Z\n"
    )
}

/// A PE program that is nothing but headers and at most 17 sections, each filled
/// up to whole 512 bytes as a linker does.
pub fn uki(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut image = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(60, &64u32.to_le_bytes());
    put(64, b"PE\0\0");
    put(70, &(sections.len() as u16).to_le_bytes());
    put(84, &240u16.to_le_bytes());
    put(88, &0x20b_u16.to_le_bytes());
    put(148, &1024u32.to_le_bytes());
    let mut begin = 1024;
    for (index, (name, bytes)) in sections.iter().enumerate() {
        let entry = 328 + index * 40;
        let size = bytes.len().next_multiple_of(512);
        put(entry, name.as_bytes());
        put(entry + 16, &(size as u32).to_le_bytes());
        put(entry + 20, &(begin as u32).to_le_bytes());
        begin += size;
    }
    for (_, bytes) in sections {
        image.extend_from_slice(bytes);
        image.resize(image.len().next_multiple_of(512), 0);
    }
    image
}

/// Bytes without a pattern, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}
