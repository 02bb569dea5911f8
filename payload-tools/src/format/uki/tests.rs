use proptest::prelude::*;

use super::*;
use crate::ReadAt as _;
use crate::testing::{osrel, uki};

fn example() -> String {
    osrel("demo-x86_64", "2", 2)
}

fn read(image: &[u8]) -> Result<Osrel, UkiError> {
    Osrel::read(image.len() as u64, &mut |buf, offset| image.fill_at(buf, offset))
}

#[test]
fn a_slot_names_its_release() {
    let image =
        uki(&[(".text", b"code"), (".osrel", example().as_bytes()), (".cmdline", b"quiet")]);
    let osrel = read(&image).unwrap();
    assert_eq!(osrel.release.as_str(), "2");
    assert_eq!(osrel.compatible.as_str(), "demo-x86_64");
    assert_eq!(osrel.counter, 2);
    assert_eq!(osrel.built.to_string(), "2026-11-01T00:00:00Z");
}

#[test]
fn an_image_that_is_not_there_or_cut_off_has_no_release() {
    let blank = read(&[0; 8192]).unwrap_err();
    assert!(matches!(blank, UkiError::Headers(KernelImageError::Blank)));
    let mut gated = uki(&[(".osrel", example().as_bytes())]);
    gated[..1024].fill(0);
    assert!(matches!(read(&gated[..1024]).unwrap_err(), UkiError::Headers(_)));
    let cut = &uki(&[(".osrel", example().as_bytes())])[..1100];
    assert!(matches!(read(cut).unwrap_err(), UkiError::Headers(_)));
    assert!(read(&[]).is_err());
}

#[test]
fn one_section_exactly() {
    let none = read(&uki(&[(".cmdline", b"quiet")])).unwrap_err();
    assert!(matches!(none, UkiError::Sections { section: ".osrel", count: 0 }));
    let text = example();
    let two = read(&uki(&[(".osrel", text.as_bytes()); 2])).unwrap_err();
    assert!(matches!(two, UkiError::Sections { section: ".osrel", count: 2 }));
    let long = read(&uki(&[(".osrel", &[b'x'; 70_000])])).unwrap_err();
    assert!(matches!(long, UkiError::SectionLength { len: 70_144, .. }));
}

/// Each row changes one thing in a good text and names the refusal.
#[test]
fn one_wrong_field_is_refused() {
    let refused = [
        ("IMAGE_VERSION=2\n", "", "IMAGE_VERSION"),
        ("IMAGE_VERSION=2\n", "IMAGE_VERSION=\n", "IMAGE_VERSION"),
        ("IMAGE_VERSION=2\n", "IMAGE_VERSION=2\nIMAGE_VERSION=3\n", "count: 2"),
        ("IMAGE_VERSION=2\n", "IMAGE_VERSION=../2\n", "IMAGE_VERSION"),
        ("demo-x86_64", "root", "SEESAW_COMPATIBLE"),
        ("\"2\"", "+2", "SEESAW_COUNTER"),
        ("\"2\"", "\"2", "SEESAW_COUNTER"),
        ("\"2\"", "18446744073709551616", "SEESAW_COUNTER"),
        ("2026-11-01T00:00:00Z", "1.11.2026", "SEESAW_BUILT"),
    ];
    for (from, to, wanted) in refused {
        let error =
            format!("{:?}", Osrel::parse(example().replace(from, to).as_bytes()).unwrap_err());
        assert!(error.contains(wanted), "{to}: {error}");
    }
    assert!(matches!(Osrel::parse(b"\xff").unwrap_err(), UkiError::NotText));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
        let _ = Osrel::parse(&bytes);
    }

    #[test]
    fn a_damaged_header_never_panics(at in 0usize..600, byte: u8) {
        let mut image = uki(&[(".osrel", example().as_bytes())]);
        image[at] = byte;
        let _ = read(&image);
    }
}
