use seesaw_e2e::soak::{Figures, Soak};

/// `cargo xtask soak` signs 10 000 times.
#[test]
fn servers_that_are_killed_and_stopped_publish_no_timestamp_that_is_wrong() {
    let figures = Soak { signs: 500, seed: 7 }.run().unwrap();
    println!("{figures}");
    let Figures { published, kills, stops, checks, .. } = figures;
    assert!(published.re_signs >= 500 && published.publications > 0, "{published:?}");
    assert!(kills > 0 && stops > 0 && checks > 0, "{figures:?}");
}
