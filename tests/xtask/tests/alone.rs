//! What is shipped to devices and servers builds without what only a publisher needs: the programs of
//! the tests are built with the whole workspace, which brings every feature.

use seesaw_harness::cargo::cargo;

/// The features of payload-tools in the device's programs, and in the server's.
const SHIPPED: [&str; 2] = ["jail", "admin,delta,jail"];

#[test]
fn a_device_and_a_server_build_without_the_publishers_part() {
    for features in SHIPPED {
        let mut check = cargo();
        check.args(["check", "--quiet", "--package", "payload-tools", "--lib"]);
        let output =
            check.args(["--no-default-features", "--features", features]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // A warning is of what nobody uses then.
        assert!(output.status.success() && said.is_empty(), "features {features:?}:\n{said}");
    }
}
