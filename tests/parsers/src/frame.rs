use std::cell::RefCell;

use payload_tools::format::seekable::{FrameDecoder, FrameEncoder, FrameError};
use payload_tools::testing::noise;

use crate::input::Input;
use crate::{Outcomes, Parser, names};

names!(named, ERRORS, FrameError, {
    FrameError::Magic => "magic",
    FrameError::Dictionary => "dictionary",
    FrameError::Window { .. } => "window",
    FrameError::ContentSize { .. } => "content size",
    FrameError::Length => "length",
    FrameError::Zstd(_) => "zstd",
});

pub(crate) const PARSER: Parser =
    Parser { name: "frame", run, outcomes: &[ERRORS, &["segment"]], never: &[], seeds };

thread_local! {
    static DECODER: RefCell<FrameDecoder> =
        RefCell::new(FrameDecoder::new().expect("there is memory"));
}

const PREFIX_LEN: usize = 8192;

/// Blocks of the segment, blocks of the prefix, the frame.
fn run(data: &[u8]) -> Outcomes {
    let mut input = Input::new(data);
    let (blocks, prefix) = (usize::from(input.byte() % 16), usize::from(input.byte() % 3));
    let mut segment = vec![0; blocks * 4096];
    let prefix = &noise(1, PREFIX_LEN)[..prefix * 4096];
    let frame = input.rest();
    let decoded =
        DECODER.with_borrow_mut(|zstd| zstd.decode_with_prefix(frame, prefix, &mut segment));
    vec![decoded.map_or_else(|error| named(&error), |()| "segment".to_owned())]
}

fn seeds() -> Vec<Vec<u8>> {
    let seed = |blocks: u8, prefix: u8, frame: &[u8]| [&[blocks, prefix], frame].concat();
    let segment: Vec<u8> = (0..8192u32).map(|n| (n / 61) as u8).collect();
    let alone = FrameEncoder::new(3).expect("there is memory").encode(&segment).expect("encodes");
    let prefix = noise(1, PREFIX_LEN);
    let after = [&prefix[100..4000], &segment[..4292]].concat();
    let after = FrameEncoder::encode_with_prefix(3, &prefix, &after).expect("encodes");
    let mut dictionary = alone.clone();
    dictionary[4] |= 1;
    let mut window = alone.clone();
    (window[4], window[5]) = (window[4] & !(1 << 5), 0xff);
    let last = alone.len() - 1;
    let mut damaged = alone.clone();
    damaged[6] ^= 0x7f;
    vec![
        seed(2, 0, &alone),
        seed(2, 2, &after),
        seed(2, 1, &after),
        seed(3, 0, &alone),
        seed(2, 0, &dictionary),
        seed(2, 0, &window),
        seed(2, 0, &[&alone[..], b"more"].concat()),
        seed(2, 0, &alone[..last]),
        seed(2, 0, &damaged),
        seed(2, 0, b"no frame"),
    ]
}
