#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _outcomes = (seesaw_parsers::parser("bundle").run)(data);
});
