//! The tables in docs/benchmarks.md are those of docs/benchmarks.json.

use seesaw_bench::{Figures, with_figures};
use seesaw_harness::programs::checkout;

#[test]
fn the_document_shows_the_committed_figures() {
    let docs = checkout().join("docs");
    let shown = fs_err::read_to_string(docs.join("benchmarks.md")).unwrap();
    let figures = Figures::read(&docs.join("benchmarks.json")).unwrap();
    let expected = with_figures(&shown, &figures).unwrap();
    assert!(
        shown == expected,
        "run `cargo xtask bench --from docs/benchmarks.json --update-docs`; the tables are\n{expected}"
    );
}
