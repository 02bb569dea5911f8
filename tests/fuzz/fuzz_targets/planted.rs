#![no_main]
//! A parser with a fault on purpose: fuzzers that do not find it find nothing.

use libfuzzer_sys::fuzz_target;
use payload_tools::format::seekable::SeekTable;

/// Frames of the seeds and of the corpus are shorter; the file's length has to agree with a longer one.
const FAULTY: u64 = 0x1000;

fuzz_target!(|data: &[u8]| {
    let Some((head, tail)) = data.split_first_chunk::<16>() else { return };
    let (image_size, file_len) = head.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
    let Ok(table) = SeekTable::parse(tail, number(image_size), number(file_len)) else { return };
    let frame = table.frame(0).expect("an image has a first frame").compressed;
    assert!(frame.end - frame.start < FAULTY, "the fault that was planted");
});
