//! `cargo xtask`, the programs that it builds and the tests that it runs share one build of every
//! crate: a feature more or less in one of them would build it, and all that use it, again.

use std::collections::BTreeMap;

use seesaw_harness::cargo::cargo;

/// The features of every crate that is not ours, by name and version. A crate that build scripts
/// use too may be there with two sets.
fn features(selection: &[&str]) -> BTreeMap<String, Vec<String>> {
    let output = cargo()
        .args(["tree", "--prefix", "none", "--no-dedupe", "--format", "{p}|{f}"])
        .args(selection)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut crates: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let Some((package, features)) = line.split_once('|') else { continue };
        if package.contains("(/") {
            continue;
        }
        let sets = crates.entry(package.to_owned()).or_default();
        if !sets.iter().any(|set| set == features) {
            sets.push(features.to_owned());
        }
    }
    crates.values_mut().for_each(|sets| sets.sort());
    crates
}

#[test]
fn every_crate_is_built_once_for_tasks_programs_and_tests() {
    let task = features(&["--package", "xtask", "--edges", "normal,build"]);
    let tests = features(&["--workspace", "--edges", "normal,build,dev"]);
    assert!(task.len() > 100, "{task:?}");
    let built_again: Vec<_> = task
        .iter()
        .filter_map(|(package, sets)| {
            let shared = |there: &&Vec<_>| sets.iter().all(|set| there.contains(set));
            let again = tests.get(package).filter(|there| !shared(there))?;
            Some(format!("{package}: {sets:?} for cargo xtask, {again:?} for the tests"))
        })
        .collect();
    assert!(
        built_again.is_empty(),
        "name what brings these features in tests/xtask/Cargo.toml too:\n{}",
        built_again.join("\n")
    );
}
