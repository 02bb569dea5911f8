//! The programs themselves: bytes, time to start, and how much of other people's code they carry.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use seesaw_harness::cargo::cargo;
use seesaw_harness::programs::Programs;
use serde_json::{Value, json};

use crate::report::Spread;
use crate::{BenchError, at};

/// Starts that count, after one that does not.
const STARTS: usize = 20;

/// What was measured of the four programs.
#[derive(Debug)]
pub struct Binaries {
    programs: Vec<Binary>,
    device_crates: usize,
}

#[derive(Debug)]
struct Binary {
    name: &'static str,
    bytes: u64,
    /// Until `--version` has been printed and the process has ended.
    start_seconds: Spread,
}

impl Binaries {
    /// Measures programs as they are shipped, which a release build strips.
    pub fn measure(programs: &Programs) -> Result<Self, BenchError> {
        let Programs { payload, update_server, update_agent, updatectl } = programs;
        let programs = [
            ("update-agent", update_agent),
            ("updatectl", updatectl),
            ("update-server", update_server),
            ("payload", payload),
        ];
        let measured = programs.into_iter().map(|(name, path)| {
            let bytes = fs_err::metadata(path).map_err(at("look at a program"))?.len();
            Ok(Binary { name, bytes, start_seconds: starts(path)? })
        });
        Ok(Self {
            programs: measured.collect::<Result<_, BenchError>>()?,
            device_crates: device_crates()?,
        })
    }

    /// Adds flat keys for machines to an object of them.
    pub fn add_to(&self, keys: &mut Value) {
        for Binary { name, bytes, start_seconds } in &self.programs {
            let name = name.replace('-', "_");
            let Spread { median, least, most } = *start_seconds;
            keys[format!("binary.{name}.bytes")] = json!(bytes);
            keys[format!("binary.{name}.start_seconds")] = json!(median);
            keys[format!("binary.{name}.start_seconds_min")] = json!(least);
            keys[format!("binary.{name}.start_seconds_max")] = json!(most);
        }
        keys["device.crates"] = json!(self.device_crates);
    }
}

fn starts(program: &Path) -> Result<Spread, BenchError> {
    let mut seconds = Vec::new();
    for _ in 0..=STARTS {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null());
        let begin = Instant::now();
        let status = command.status().map_err(at("start a program"))?;
        seconds.push(begin.elapsed().as_secs_f64());
        if !status.success() {
            let program = format!("{} --version", program.display());
            return Err(BenchError::Program { program, output: status.to_string() });
        }
    }
    Ok(Spread::of(seconds.into_iter().skip(1)))
}

/// How many crates the agent and updatectl are built of, their own included.
pub fn device_crates() -> Result<usize, BenchError> {
    let output = cargo()
        .args(["tree", "--package", "seesaw-agent", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--no-dedupe"])
        .output()
        .map_err(at("start cargo"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        let program = "cargo tree".to_owned();
        return Err(BenchError::Program { program, output: text(&output.stderr) });
    }
    let listed = text(&output.stdout);
    let crates: BTreeSet<_> = listed.lines().filter(|line| !line.is_empty()).collect();
    Ok(crates.len())
}

impl fmt::Display for Binaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22}{:>24}{:>24}", "release build", "MiB", "start, ms")?;
        for Binary { name, bytes, start_seconds } in &self.programs {
            let [median, least, most] =
                [start_seconds.median, start_seconds.least, start_seconds.most].map(|s| s * 1000.0);
            let start = format!("{median:.2} ({least:.2} - {most:.2})");
            let mib = *bytes as f64 / (1 << 20) as f64;
            writeln!(f, "{name:<22}{mib:>24.2}{start:>24}")?;
        }
        writeln!(f, "\ncrates of update-agent and updatectl: {}", self.device_crates)
    }
}
