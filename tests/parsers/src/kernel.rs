use partition_layout::kernel_image::{KernelImage, KernelImageError};
use payload_tools::build::{KernelError, check_kernel};
use payload_tools::format::ReleaseFacts;
use payload_tools::format::uki::{Osrel, TEXT_SIZE_MAX, UkiError};
use payload_tools::testing::{osrel, uki};

use crate::input::Input;
use crate::{Outcomes, Parser, names};

names!(no_image, IMAGE_ERRORS, KernelImageError, {
    KernelImageError::Blank => "blank",
    KernelImageError::NotPe => "not PE",
    KernelImageError::NotPe32Plus => "not 64-bit",
    KernelImageError::HeadersTooLong => "headers too long",
    KernelImageError::CertificatesInside { .. } => "certificates inside",
    KernelImageError::TooLarge { .. } => "too large",
});
names!(no_osrel, UKI_ERRORS, UkiError, {
    UkiError::Read { .. } => "unreadable",
    UkiError::Headers(_) => "headers",
    UkiError::Sections { .. } => "sections",
    UkiError::SectionLength { .. } => "section length",
    UkiError::NotText => "not text",
    UkiError::Field { .. } => "field",
    UkiError::Name { .. } => "name",
    UkiError::Value { .. } => "value",
});
const KERNELS: &[&str] = &["no command line", "empty command line", "another release", "kernel"];

pub(crate) const PARSER: Parser = Parser {
    name: "kernel",
    run,
    outcomes: &[IMAGE_ERRORS, UKI_ERRORS, KERNELS],
    never: &[],
    seeds,
};

const FACTS: &str = r#"{"release":"2","counter":2,"compatible":"demo","min_from":0,
"channels":["stable"],"floor":false,"downgrade_from":null}"#;

/// Bytes of the partition beyond the image's, then the image; as is, the text of an `.osrel`.
fn run(data: &[u8]) -> Outcomes {
    let mut input = Input::new(data);
    let more = u64::from(input.u16());
    let image = input.rest();
    let available = image.len() as u64 + more;
    let mut outcomes = Outcomes::new();
    match KernelImage::parse(image, available) {
        Ok(kernel) => {
            assert!(kernel.file_size() <= available);
            assert!(kernel.sections().all(|section| section.bytes.end <= kernel.file_size()));
        }
        Err(error) => outcomes.push(no_image(&error)),
    }
    if let Err(error) = Osrel::parse(image) {
        outcomes.push(no_osrel(&error));
    }
    let facts: ReleaseFacts = serde_json::from_str(FACTS).expect("facts");
    outcomes.push(match check_kernel(&image, available, &facts) {
        Ok((osrel, _warnings)) => {
            assert_eq!((osrel.release, osrel.counter), (facts.release, facts.counter));
            "kernel".to_owned()
        }
        Err(KernelError::Uki(error)) => no_osrel(&error),
        Err(KernelError::Cmdline(_)) => "no command line".to_owned(),
        Err(KernelError::CmdlineEmpty) => "empty command line".to_owned(),
        Err(KernelError::Differs { .. }) => "another release".to_owned(),
    });
    outcomes
}

fn seeds() -> Vec<Vec<u8>> {
    let text = osrel("demo", "2", 2);
    let image = |osrel: &[u8], cmdline: &[u8]| uki(&[(".osrel", osrel), (".cmdline", cmdline)]);
    let good = image(text.as_bytes(), b"quiet panic=10");
    let changed = |at: usize, value: u32| {
        let mut image = good.clone();
        image[at..at + 4].copy_from_slice(&value.to_le_bytes());
        image
    };
    let but = |from: &str, to: &str| image(text.replace(from, to).as_bytes(), b"quiet panic=10");
    let mut signed = changed(196, 5);
    signed.extend([0x30; 16]);
    let end = good.len() as u32;
    signed[232..236].copy_from_slice(&end.to_le_bytes());
    signed[236..240].copy_from_slice(&16u32.to_le_bytes());
    let mut inside = signed.clone();
    inside[232..236].copy_from_slice(&512u32.to_le_bytes());
    let long = image(text.as_bytes(), &vec![b' '; TEXT_SIZE_MAX as usize + 1]);
    let images = [
        signed,
        inside,
        changed(0, 0),
        changed(88, 0x10b),
        changed(60, u32::MAX),
        changed(328 + 16, 1 << 20),
        image(text.as_bytes(), b" "),
        uki(&[(".osrel", text.as_bytes())]),
        uki(&[(".cmdline", b"quiet")]),
        image(b"\xff", b"quiet"),
        but("IMAGE_VERSION=2", "IMAGE_VERSION="),
        but("IMAGE_VERSION=2", "IMAGE_VERSION=../2"),
        but("SEESAW_COUNTER=\"2\"", "SEESAW_COUNTER=+2"),
        but("SEESAW_COUNTER=\"2\"", "SEESAW_COUNTER=3"),
        text.clone().into_bytes(),
        vec![0; 64],
        long,
        good.clone(),
    ];
    let seed = |more: u16, image: &[u8]| [&more.to_le_bytes()[..], image].concat();
    let mut all: Vec<_> = images.iter().map(|image| seed(0, image)).collect();
    // A section beyond what can be read, within what the partition would have.
    all.push(seed(u16::MAX, &changed(328 + 20, end + 1)));
    all
}
