use alloc::{vec, vec::Vec};

use proptest::prelude::*;

use super::*;

const PE: usize = 0x80;
const TABLE: usize = PE + OPTIONAL + 240;

/// An image with one section per (raw offset, raw size), and a certificate table.
fn image(parts: &[(u32, u32)], certificates: (u32, u32)) -> Vec<u8> {
    let mut head = vec![0; HEAD_SIZE];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(PE_OFFSET_AT, &(PE as u32).to_le_bytes());
    put(PE, b"PE\0\0");
    put(PE + SECTION_COUNT, &(parts.len() as u16).to_le_bytes());
    put(PE + OPTIONAL_SIZE, &240_u16.to_le_bytes());
    put(PE + OPTIONAL, &PE32_PLUS.to_le_bytes());
    put(PE + HEADERS_SIZE, &1024_u32.to_le_bytes());
    put(PE + DIRECTORY_COUNT, &16_u32.to_le_bytes());
    put(PE + CERTIFICATES, &certificates.0.to_le_bytes());
    put(PE + CERTIFICATES + 4, &certificates.1.to_le_bytes());
    for (index, (begin, size)) in parts.iter().enumerate() {
        let entry = TABLE + index * SECTION_SIZE;
        put(entry, &[b'.', b'a' + index as u8]);
        put(entry + 16, &size.to_le_bytes());
        put(entry + 20, &begin.to_le_bytes());
    }
    head
}

fn size_of(head: &[u8], available: u64) -> Result<u64, KernelImageError> {
    KernelImage::parse(head, available).map(|image| image.file_size())
}

#[test]
fn the_file_ends_behind_its_last_section_or_its_certificates() {
    let cases = [
        (&[][..], (0, 0), 1024),
        (&[(1024, 512), (1536, 512)], (0, 0), 2048),
        (&[(4096, 512), (1024, 512)], (0, 0), 4608),
        // A section without bytes in the file, as .bss is, may point anywhere.
        (&[(1024, 512), (9999, 0)], (0, 0), 1536),
        (&[(1024, 512)], (1536, 300), 1836),
        (&[(1024, 512)], (2048, 300), 2348),
        (&[(u32::MAX, u32::MAX)], (0, 0), 2 * u64::from(u32::MAX)),
    ];
    for (parts, certificates, end) in cases {
        let head = image(parts, certificates);
        assert_eq!(size_of(&head, end), Ok(end), "{parts:?} {certificates:?}");
        let available = end - 1;
        let too_large = KernelImageError::TooLarge { size: end, available };
        assert_eq!(size_of(&head, available), Err(too_large), "{parts:?} {certificates:?}");
    }
}

#[test]
fn sections_are_named_and_located() {
    let head = image(&[(1024, 512), (0, 0), (2048, 10)], (0, 0));
    let image = KernelImage::parse(&head, 1 << 20).unwrap();
    let sections: Vec<_> = image.sections().map(|s| (s.name, s.bytes)).collect();
    assert_eq!(sections, [(*b".a\0\0\0\0\0\0", 1024..1536), (*b".c\0\0\0\0\0\0", 2048..2058)]);
}

#[test]
fn what_is_no_image_is_refused() {
    use KernelImageError::*;
    let broken = |at: usize, bytes: &[u8]| {
        let mut head = image(&[(1024, 512)], (0, 0));
        head[at..at + bytes.len()].copy_from_slice(bytes);
        size_of(&head, 1 << 20)
    };
    assert_eq!(size_of(&[], 1 << 20), Err(Blank));
    assert_eq!(size_of(&[0; HEAD_SIZE], 1 << 20), Err(Blank));
    assert_eq!(size_of(b"M", 1 << 20), Err(NotPe));
    assert_eq!(size_of(b"MZ", 1 << 20), Err(HeadersTooLong));
    assert_eq!(broken(0, b"ZM"), Err(NotPe));
    assert_eq!(broken(PE, b"NE"), Err(NotPe));
    assert_eq!(broken(PE + OPTIONAL, &[0x0b, 0x01]), Err(NotPe32Plus));
    assert_eq!(broken(PE_OFFSET_AT, &[0xff; 4]), Err(HeadersTooLong));
    assert_eq!(broken(PE_OFFSET_AT, &4090_u32.to_le_bytes()), Err(NotPe));
    assert_eq!(broken(PE + SECTION_COUNT, &[0xff; 2]), Err(HeadersTooLong));
    assert_eq!(broken(PE + OPTIONAL_SIZE, &[0xff; 2]), Err(HeadersTooLong));
    let inside = image(&[(1024, 512)], (1535, 8));
    assert_eq!(size_of(&inside, 1 << 20), Err(CertificatesInside { begin: 1535, end: 1536 }));
}

#[test]
fn only_the_head_is_looked_at() {
    let mut head = image(&[(1024, 512)], (0, 0));
    head.extend([0xff; 100]);
    assert_eq!(size_of(&head, 1 << 20), Ok(1536));
    head[..HEAD_SIZE].fill(0);
    assert_eq!(size_of(&head, 1 << 20), Err(KernelImageError::Blank));
}

proptest! {
    #[test]
    fn hostile_headers_never_panic_and_never_exceed_the_partition(
        changes in prop::collection::vec((0..TABLE + 200, any::<u8>()), 0..12),
        available in 0_u64..1 << 34,
    ) {
        let mut head = image(&[(1024, 512), (2048, 100)], (4096, 100));
        for (at, byte) in changes {
            head[at] = byte;
        }
        if let Ok(image) = KernelImage::parse(&head, available) {
            prop_assert!(image.file_size() <= available);
            for section in image.sections() {
                prop_assert!(section.bytes.end <= image.file_size());
            }
        }
    }

    #[test]
    fn noise_never_panics(head in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = size_of(&head, 1 << 20);
    }
}
