use payload_tools::format::Hash;
use payload_tools::format::delta::{FIXED_LEN, Head, HeadError};

use crate::input::Input;
use crate::{Outcomes, Parser, names};

names!(named, ERRORS, HeadError, {
    HeadError::Magic => "magic",
    HeadError::ImageSize { .. } => "image size",
    HeadError::Length { .. } => "length",
    HeadError::Kind { .. } => "kind",
    HeadError::BodyLength { .. } => "body length",
    HeadError::FileLength { .. } => "file length",
    HeadError::OtherImages { .. } => "other images",
});

pub(crate) const PARSER: Parser =
    Parser { name: "delta_head", run, outcomes: &[ERRORS, &["head"]], never: &[], seeds };

const FROM: Hash = Hash::from_bytes([1; 32]);
const TO: Hash = Hash::from_bytes([2; 32]);

/// The file's length, the head.
fn run(data: &[u8]) -> Outcomes {
    let mut input = Input::new(data);
    let (file_len, bytes) = (input.u64(), input.rest());
    if let Some(fixed) = bytes.first_chunk::<FIXED_LEN>() {
        let _any = Head::stated_len(fixed);
    }
    let head = match Head::parse(bytes, file_len) {
        Ok(head) => head,
        Err(error) => return vec![named(&error)],
    };
    let (mut body, mut segment) = (bytes.len() as u64, 0);
    for part in (0..head.segments()).map_while(|index| head.part(index)) {
        assert_eq!((part.body.start, part.segment.start), (body, segment));
        (body, segment) = (part.body.end, part.segment.end);
    }
    assert_eq!((body, segment), (file_len, head.to_size));
    match head.expect(&FROM, &TO, head.to_size) {
        Ok(()) => vec!["head".to_owned()],
        Err(error) => vec![named(&error)],
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let head = |magic: &[u8], to_size: u64, from_root: u8, words: &[u32]| {
        let mut bytes = magic.to_vec();
        bytes.extend(8192u64.to_le_bytes());
        bytes.extend(to_size.to_le_bytes());
        bytes.extend([from_root; 32]);
        bytes.extend([2; 32]);
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes
    };
    let seed = |more: u64, head: Vec<u8>| {
        let file_len = head.len() as u64 + more;
        [&file_len.to_le_bytes()[..], &head].concat()
    };
    let (zstd, copy, zero) = (2 << 24, 1 << 24, 0);
    let two = (4u64 << 20) + 4096;
    vec![
        seed(30, head(b"SSDELTA4", two, 1, &[zstd | 20, copy | 10])),
        seed(20, head(b"SSDELTA4", two, 1, &[zstd | 20, zero])),
        seed(0, head(b"SSDELTA4", 0, 1, &[])),
        seed(0, head(b"SSDELTA1", two, 1, &[zero, zero])),
        seed(0, head(b"SSDELTA4", 4097, 1, &[zero])),
        seed(0, head(b"SSDELTA4", two, 1, &[zero])),
        seed(0, head(b"SSDELTA4", two, 1, &[zero, 9 << 24])),
        seed(1, head(b"SSDELTA4", two, 1, &[zero, zero | 1])),
        seed(1, head(b"SSDELTA4", two, 1, &[zero, zero])),
        seed(0, head(b"SSDELTA4", two, 9, &[zero, zero])),
    ]
}
