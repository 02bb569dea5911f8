//! Rounds of both contenders, and what they come to.

use std::fmt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::{BenchError, FileServer, Release, Sample, TestDisk, install, peer};

const MIB: f64 = (1 << 20) as f64;

/// The rounds of a comparison, on one machine.
#[derive(Debug)]
pub struct Comparison {
    image_bytes: u64,
    machine: Machine,
    ours: Vec<Sample>,
    pipeline: Vec<Sample>,
}

#[derive(Debug)]
struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    /// Name and version of each.
    tools: Vec<String>,
}

/// Runs both contenders `rounds` times, by turns, after one round that does not
/// count. `note` is told of each round.
pub fn compare(
    program: &Path,
    release: &Release,
    disk: &TestDisk,
    rounds: usize,
    note: &dyn Fn(&str),
) -> Result<Comparison, BenchError> {
    let server = FileServer::start(&release.folder)?;
    let (mut ours, mut pipeline) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        note(&format!(
            "round {round} of {rounds}{}",
            if round == 0 { ", not counted" } else { "" }
        ));
        let (one, other) =
            (install(program, release, &server, disk)?, peer::pipeline(release, &server, disk)?);
        if round > 0 {
            ours.push(one);
            pipeline.push(other);
        }
    }
    let image_bytes = release.manifest.images.iter().map(|image| image.size).sum();
    Ok(Comparison { image_bytes, machine: Machine::this(), ours, pipeline })
}

impl Machine {
    fn this() -> Self {
        let info = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name =
            info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        let version = |tool: &str| {
            let output = Command::new(tool).arg("--version").output().ok()?;
            Some(format!("{tool} {}", version_in(&String::from_utf8_lossy(&output.stdout))?))
        };
        Machine {
            processor: name.unwrap_or("unknown processor").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            tools: ["curl", "zstd", "dd"].iter().filter_map(|tool| version(tool)).collect(),
        }
    }
}

/// The first word of a `--version` that is a number.
fn version_in(text: &str) -> Option<&str> {
    let words = text.split_whitespace().map(|word| word.trim_matches(['v', ',']));
    words.into_iter().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
}

/// Median, least and most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Spread { median: (at(last / 2) + at(last.div_ceil(2))) / 2.0, least: at(0), most: at(last) }
    }
}

impl Comparison {
    /// Median wall time of our install over the pipeline's.
    pub fn ratio_pipeline(&self) -> f64 {
        let wall = |samples: &[Sample]| spread(samples, |sample| sample.wall.as_secs_f64()).median;
        wall(&self.ours) / wall(&self.pipeline)
    }

    /// Most memory that any of our installs took.
    pub fn memory_peak_bytes(&self) -> u64 {
        self.ours.iter().map(|sample| sample.memory_peak_bytes).max().unwrap_or(0)
    }

    /// Most that any of our installs wrote, per byte of the images.
    pub fn target_write_ratio(&self) -> f64 {
        spread(&self.ours, |sample| sample.write_ratio).most
    }

    /// Flat keys for machines.
    pub fn to_json(&self) -> Value {
        let seconds = |samples: &[Sample]| spread(samples, |sample| sample.wall.as_secs_f64());
        let cpu = |samples: &[Sample]| spread(samples, |sample| sample.cpu.as_secs_f64()).median;
        let (ours, pipeline) = (seconds(&self.ours), seconds(&self.pipeline));
        json!({
            "install.ratio_pipeline": self.ratio_pipeline(),
            "install.memory_peak_bytes": self.memory_peak_bytes(),
            "install.target_write_ratio": self.target_write_ratio(),
            "install.wall_seconds": ours.median,
            "install.wall_seconds_min": ours.least,
            "install.wall_seconds_max": ours.most,
            "install.cpu_seconds": cpu(&self.ours),
            "install.wire_bytes": self.ours.last().map(|sample| sample.wire_bytes),
            "install.image_bytes": self.image_bytes,
            "pipeline.wall_seconds": pipeline.median,
            "pipeline.wall_seconds_min": pipeline.least,
            "pipeline.wall_seconds_max": pipeline.most,
            "pipeline.cpu_seconds": cpu(&self.pipeline),
            "pipeline.memory_peak_bytes":
                self.pipeline.iter().map(|sample| sample.memory_peak_bytes).max(),
            "pipeline.wire_bytes": self.pipeline.last().map(|sample| sample.wire_bytes),
            "rounds": self.ours.len(),
            "machine.processor": self.machine.processor,
            "machine.cores": self.machine.cores,
            "machine.kernel": self.machine.kernel,
            "machine.tools": self.machine.tools,
        })
    }
}

fn spread(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> Spread {
    Spread::of(samples.iter().map(value))
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, cores, kernel, tools } = &self.machine;
        writeln!(f, "full install of {:.0} MiB over loopback HTTP", self.image_bytes as f64 / MIB)?;
        writeln!(f, "{processor}, {cores} cores, Linux {kernel}; {}", tools.join("; "))?;
        writeln!(f, "{} rounds by turns; median (least - most)\n", self.ours.len())?;
        writeln!(f, "{:<22}{:>24}{:>24}", "", "seesaw", "curl | zstd -d | dd")?;
        let mut row = |name: &str, value: &dyn Fn(&Sample) -> f64| {
            let cell = |samples| {
                let Spread { median, least, most } = spread(samples, value);
                format!("{median:.2} ({least:.2} - {most:.2})")
            };
            writeln!(f, "{name:<22}{:>24}{:>24}", cell(&self.ours), cell(&self.pipeline))
        };
        row("wall, s", &|sample| sample.wall.as_secs_f64())?;
        row("processor, s", &|sample| sample.cpu.as_secs_f64())?;
        row("memory peak, MiB", &|sample| sample.memory_peak_bytes as f64 / MIB)?;
        row("on the wire, MiB", &|sample| sample.wire_bytes as f64 / MIB)?;
        row("written / image", &|sample| sample.write_ratio)?;
        writeln!(f, "\nwall, ours / pipeline: {:.2}", self.ratio_pipeline())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        let cases = [
            ("curl 7.88.1 (x86_64-pc-linux-gnu)", Some("7.88.1")),
            ("*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***", Some("1.5.4")),
            ("dd (coreutils) 9.1", Some("9.1")),
            ("none", None),
        ];
        for (text, version) in cases {
            assert_eq!(version_in(text), version, "{text}");
        }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter());
        assert_eq!(spread, Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(Spread::of([7.0].into_iter()).median, 7.0);
    }
}
