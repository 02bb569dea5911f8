//! The boot selector's build.

use seesaw_harness::selector::{Compiler, build_selector, build_with};

#[test]
fn building_it_twice_gives_the_same_bytes() {
    let first = fs_err::read(build_selector().unwrap()).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let second = build_with(&Compiler::find().unwrap(), elsewhere.path()).unwrap();
    assert!(first == fs_err::read(second).unwrap());
}
