//! What holds on every machine, fast or slow: memory, writes to the target, crates.

use std::path::Path;

use seesaw_bench::{FileServer, TestDisk, device_crates, install, prepare};
use seesaw_harness::programs::target_dir;

const MIB: u64 = 1 << 20;

#[test]
fn a_gibibyte_is_installed_in_52_mebibytes_and_written_once() {
    let cache = target_dir().join("bench");
    let release = prepare(&cache, Path::new("/usr"), 1024 * MIB).unwrap();
    let disk = TestDisk::create(&cache, &release.manifest).unwrap();
    let server = FileServer::start(&release.folder).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_bench-install"));
    let sample = install(program, &release, &server, &disk).unwrap();
    let peak = sample.memory_peak_bytes;
    assert!(peak < 52 * MIB, "the install took {peak} bytes of memory");
    assert!(sample.write_ratio <= 1.01, "the target was written {} times", sample.write_ratio);
    assert!(sample.write_ratio >= 1.0, "{} of the images was written", sample.write_ratio);
}

#[test]
fn the_device_carries_fewer_than_200_crates() {
    let crates = device_crates().unwrap();
    // Fewer than its own direct dependencies would be a list that was misread.
    assert!((50..200).contains(&crates), "update-agent and updatectl are built of {crates} crates");
}
