//! `cargo xtask demo`, as a test.

use seesaw_e2e::demo::{self, DemoError};

#[test]
fn the_main_job_runs_from_keys_to_fallback() -> Result<(), DemoError> {
    demo::run()
}
