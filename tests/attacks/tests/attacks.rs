//! Every attack, on the real programs; and the document that tells of them.

use seesaw_attacks::{fixture, scene, table};

/// A test for each folder, so that they run beside each other.
macro_rules! attacks {
    ($($test:ident: $name:literal,)*) => {
        const NAMES: &[&str] = &[$($name),*];

        $(
            #[test]
            fn $test() {
                let attack = fixture::attack($name).unwrap();
                if let Err(failure) = scene::run(&attack) {
                    panic!("{}: {}", $name, payload_tools::error_chain::one_line(&failure));
                }
            }
        )*
    };
}

attacks! {
    arbitrary_software: "arbitrary-software",
    clock: "clock",
    compromised_compatible_at_threshold: "compromised-compatible-at-threshold",
    compromised_compatible_below_threshold: "compromised-compatible-below-threshold",
    compromised_root_at_threshold: "compromised-root-at-threshold",
    compromised_root_below_threshold: "compromised-root-below-threshold",
    compromised_server: "compromised-server",
    compromised_snapshot_at_threshold: "compromised-snapshot-at-threshold",
    compromised_snapshot_below_threshold: "compromised-snapshot-below-threshold",
    compromised_targets_at_threshold: "compromised-targets-at-threshold",
    compromised_targets_below_threshold: "compromised-targets-below-threshold",
    compromised_timestamp_below_threshold: "compromised-timestamp-below-threshold",
    endless_data: "endless-data",
    fast_forward: "fast-forward",
    freeze: "freeze",
    mix_and_match: "mix-and-match",
    replay: "replay",
    rollback: "rollback",
    skipped_floor: "skipped-floor",
    slow_drip: "slow-drip",
    withdrawn_release: "withdrawn-release",
    wrong_channel: "wrong-channel",
    wrong_compatible: "wrong-compatible",
}

#[test]
fn every_folder_is_run() {
    assert_eq!(fixture::names().unwrap(), NAMES);
}

#[test]
fn the_document_shows_what_the_fixtures_say() {
    let text = fs_err::read_to_string(table::document()).unwrap();
    let current = table::replaced(&text, &table::tables().unwrap());
    let current = current.expect("the document has the lines between which the tables stand");
    assert!(text == current, "docs/threat-model.md is old: `cargo run -p seesaw-attacks`");
}
