//! What holds on every machine, fast or slow: memory, writes to the target, crates.

use std::collections::BTreeSet;
use std::path::Path;

use seesaw_bench::{
    FileServer, Fill, TestDisk, Way, crates, install, install_worst_delta, prepare,
};
use seesaw_harness::programs::target_dir;

const MIB: u64 = 1 << 20;

#[test]
fn a_gibibyte_is_installed_in_52_mebibytes_and_written_once() {
    let cache = target_dir().join("bench");
    let release = prepare(&cache, Path::new("/usr"), 1024 * MIB, Fill::Dense).unwrap();
    let disk = TestDisk::create(&cache, &release.manifest).unwrap();
    let server = FileServer::start(&release.folder).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_bench-install"));
    let sample = install(program, &release, Way::Full, &server, &disk).unwrap();
    let peak = sample.memory_peak_bytes;
    assert!(peak < 52 * MIB, "the install took {peak} bytes of memory");
    assert!(sample.write_ratio <= 1.01, "the target was written {} times", sample.write_ratio);
    assert!(sample.write_ratio >= 1.0, "{} of the images was written", sample.write_ratio);
}

/// Whatever a delta is, within its format.
#[test]
fn a_delta_is_installed_in_64_mebibytes() {
    let program = Path::new(env!("CARGO_BIN_EXE_bench-install"));
    let sample = install_worst_delta(program, &target_dir().join("bench")).unwrap();
    let peak = sample.memory_peak_bytes;
    assert!(peak < 64 * MIB, "the install took {peak} bytes of memory");
    // The kernel's segment, and next to nothing: half a MiB each without the delta.
    let fetched = sample.wire_bytes;
    assert!(fetched < 6 * MIB, "{fetched} bytes were fetched");
}

/// Not one of these signs, asks for a passphrase or loads a token's module on a device.
const PUBLISHERS: [&str; 4] = ["cryptoki", "pkcs5", "rpassword", "scrypt"];

#[test]
fn the_device_is_built_of_few_crates_and_none_of_the_publishers() {
    let (device, publisher) = (crates("seesaw-agent").unwrap(), crates("payload-tools").unwrap());
    // Fewer than its own direct dependencies would be a list that was misread.
    assert!((50..200).contains(&device.len()), "{} crates", device.len());
    for name in PUBLISHERS {
        let has = |crates: &BTreeSet<String>| {
            crates.iter().any(|listed| listed.split(' ').next() == Some(name))
        };
        assert!(has(&publisher) && !has(&device), "{name}");
    }
}
