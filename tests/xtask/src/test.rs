//! `cargo xtask test`: every test, and one last line that counts them.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Args;
use payload_tools::error_chain::one_line;
use seesaw_harness::cargo::cargo;
use seesaw_harness::{packages, selector};

/// Run every test; the last line counts them.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// Runs the tests. The exit code is success only when some ran and none failed.
pub fn run(args: &TestArgs) -> ExitCode {
    let started = Instant::now();
    let mut total = Count::default();
    let result = prepare().and_then(|()| {
        println!("==> every test of the workspace");
        let without = not_for(has_sha_instructions());
        if let Some(tests) = without {
            println!("    without {tests}: this processor lacks SHA instructions");
        }
        total += run_tests(runner(args, without))?;
        Ok(())
    });
    if let Err(reason) = &result {
        println!("error: {reason}");
        total.failed += 1;
    }
    println!("took {} s", started.elapsed().as_secs());
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the tests need and cargo cannot bring: Debian packages, the boot selector.
fn prepare() -> Result<(), String> {
    println!("==> Debian packages");
    let progress = |name: &str| println!("    {name}");
    let needed = [packages::IMAGES, packages::QEMU, packages::FOREIGN_READERS];
    packages::ensure(&needed, progress).map_err(|error| one_line(&error))?;
    println!("==> the boot selector");
    selector::prepare(progress).map_err(|error| one_line(&error))
}

/// Tests whose name contains this need SHA instructions.
fn not_for(has_sha_instructions: bool) -> Option<&'static str> {
    (!has_sha_instructions).then_some("two_lanes")
}

#[cfg(target_arch = "x86_64")]
fn has_sha_instructions() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3")
}

/// Elsewhere nothing asks for them.
#[cfg(not(target_arch = "x86_64"))]
fn has_sha_instructions() -> bool {
    true
}

/// nextest where it is installed, else cargo's own runner.
fn runner(args: &TestArgs, without: Option<&str>) -> Command {
    let mut command = cargo();
    if has_nextest() {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
        command.args(["--status-level", "slow", "--final-status-level", "fail"]);
    } else {
        command.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    }
    command.args(&args.filter);
    if let Some(tests) = without {
        command.args(["--", "--skip", tests]);
    }
    command
}

fn has_nextest() -> bool {
    cargo()
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Tests that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Shows what the runner prints as it prints it, and counts.
fn run_tests(mut command: Command) -> Result<Count, String> {
    let (reader, writer) = std::io::pipe().map_err(|e| format!("making a pipe: {e}"))?;
    let stderr = writer.try_clone().map_err(|e| format!("sharing a pipe: {e}"))?;
    let mut child = command
        .stdout(writer)
        .stderr(stderr)
        .spawn()
        .map_err(|e| format!("starting {command:?}: {e}"))?;
    // The command holds the pipe's writing end, which would keep the reader waiting.
    drop(command);
    let mut count = Count::default();
    for line in BufReader::new(reader).lines() {
        let line = line.map_err(|e| format!("reading the test runner: {e}"))?;
        println!("{line}");
        count += summary(&line).unwrap_or_default();
    }
    let status = child.wait().map_err(|e| format!("waiting for the test runner: {e}"))?;
    if !status.success() && count.failed == 0 {
        return Err(format!("the test runner ended with {status} before its count"));
    }
    Ok(count)
}

/// Reads the closing line of cargo test (`test result: ok. 3 passed; 0 failed; ...`) and of
/// nextest (`Summary [1.2s] 3 tests run: 3 passed, 0 skipped`).
fn summary(line: &str) -> Option<Count> {
    let plain = without_colour(line);
    // nextest shows the output of a test that failed, its `test result` included, indented.
    let counts = match plain.strip_prefix("test result: ") {
        Some(rest) => rest,
        None => plain.trim().strip_prefix("Summary [")?.split_once("run: ")?.1,
    };
    let mut count = Count::default();
    let words: Vec<&str> =
        counts.split([' ', ',', ';', '(', ')']).filter(|w| !w.is_empty()).collect();
    for pair in words.windows(2) {
        let Ok(number) = pair[0].parse::<u64>() else { continue };
        match pair[1] {
            "passed" => count.passed += number,
            // nextest counts a test that it killed apart ("timed out"); for us it failed.
            "failed" | "timed" => count.failed += number,
            _ => {}
        }
    }
    Some(count)
}

/// Drops terminal colour sequences (`ESC [ ... m`).
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, tail)| tail);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::{Count, TestArgs, not_for, runner, summary};

    #[test]
    fn what_a_processor_cannot_do_is_left_out_and_nothing_else() {
        let skips = |has_sha_instructions| {
            let without = not_for(has_sha_instructions);
            let runner = runner(&TestArgs { filter: None }, without);
            let args: Vec<_> = runner.get_args().map(|arg| arg.to_os_string()).collect();
            args.ends_with(&["--".into(), "--skip".into(), "two_lanes".into()])
        };
        assert_eq!([skips(true), skips(false)], [false, true]);
    }

    #[test]
    fn counts_both_runners() {
        let table = [
            ("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured", Some((12, 0))),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored", Some((3, 2))),
            (
                "     Summary [   1.2s] 340 tests run: 338 passed (2 slow), 2 failed, 1 skipped",
                Some((338, 2)),
            ),
            ("\u{1b}[32m Summary\u{1b}[0m [ 0.1s] 5 tests run: 5 passed, 0 skipped", Some((5, 0))),
            ("Summary [ 9s] 5 tests run: 4 passed, 1 timed out, 0 skipped", Some((4, 1))),
            ("Summary [ 9s] 5 tests run: 3 passed, 1 failed, 1 timed out", Some((3, 2))),
            ("running 3 tests", None),
            ("    test result: FAILED. 0 passed; 1 failed; 0 ignored", None),
        ];
        for (line, expected) in table {
            let expected = expected.map(|(passed, failed)| Count { passed, failed });
            assert_eq!(summary(line), expected, "{line}");
        }
    }
}
