//! What the device's programs are built of: little, and nothing of a publisher's.

use std::collections::BTreeSet;

use seesaw_harness::cargo::cargo;

/// Not one of these signs, asks for a passphrase or loads a token's module on a device.
const PUBLISHERS: [&str; 4] = ["cryptoki", "pkcs5", "rpassword", "scrypt"];
const CRATES_MAX: usize = 200;

fn crates(package: &str) -> BTreeSet<String> {
    let tree = ["tree", "--edges", "normal", "--prefix", "none", "--no-dedupe", "--package"];
    let output = cargo().args(tree).arg(package).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_device_is_built_of_few_crates_and_none_of_the_publishers() {
    let device = crates("seesaw-agent");
    assert!(device.len() > 50 && device.len() < CRATES_MAX, "{}", device.len());
    let publisher = crates("payload-tools");
    for name in PUBLISHERS {
        assert!(publisher.contains(name) && !device.contains(name), "{name}");
    }
}
