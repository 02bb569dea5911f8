#![no_main]
//! A parser with a fault on purpose: fuzzers that do not find it find nothing.

use libfuzzer_sys::fuzz_target;
use payload_tools::format::seekable::SeekTable;

/// Frames of the seeds and of the corpus are shorter; the file's length has to agree with a longer one.
const FAULTY: u64 = 0x1000;

fuzz_target!(|data: &[u8]| {
    let Some((image_size, rest)) = data.split_first_chunk() else { return };
    let Some((file_len, tail)) = rest.split_first_chunk() else { return };
    let [image_size, file_len] = [image_size, file_len].map(|bytes| u64::from_le_bytes(*bytes));
    let Ok(table) = SeekTable::parse(tail, image_size, file_len) else { return };
    let frame = table.frame(0).expect("an image has a first frame").compressed;
    assert!(frame.end - frame.start < FAULTY, "the fault that was planted");
});
