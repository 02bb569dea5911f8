//! The programs themselves: bytes, time to start, and how much of other people's code they carry.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use seesaw_harness::cargo::cargo;
use seesaw_harness::programs::Programs;

use crate::figures::Spread;
use crate::{BenchError, Figures, at};

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
            device_crates: crates("seesaw-agent")?.len(),
        })
    }

    /// Adds what was measured.
    pub fn add_to(&self, figures: &mut Figures) {
        for Binary { name, bytes, start_seconds } in &self.programs {
            let name = name.replace('-', "_");
            figures.set(&format!("binary.{name}.bytes"), *bytes);
            figures.set_spread(&format!("binary.{name}.start_seconds"), *start_seconds);
        }
        figures.set("device.crates", self.device_crates);
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

/// The crates and their versions that a package is built of, itself included.
pub fn crates(package: &str) -> Result<BTreeSet<String>, BenchError> {
    let output = cargo()
        .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--no-dedupe"])
        .output()
        .map_err(at("start cargo"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        let program = "cargo tree".to_owned();
        return Err(BenchError::Program { program, output: text(&output.stderr) });
    }
    let listed = text(&output.stdout);
    Ok(listed.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}
