//! Rounds of both contenders, and what they come to.

use std::path::Path;

use crate::figures::Spread;
use crate::{BenchError, Figures, FileServer, Release, Sample, TestDisk, Way, install, peer};

/// The rounds of a comparison, on one machine.
#[derive(Debug)]
pub struct Comparison {
    image_bytes: u64,
    ours: Vec<Sample>,
    pipeline: Vec<Sample>,
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
        let one = install(program, release, Way::Full, &server, disk)?;
        let other = peer::pipeline(release, &server, disk)?;
        if round > 0 {
            ours.push(one);
            pipeline.push(other);
        }
    }
    let image_bytes = release.manifest.images.iter().map(|image| image.size).sum();
    Ok(Comparison { image_bytes, ours, pipeline })
}

impl Comparison {
    /// Adds what the rounds come to.
    pub fn add_to(&self, figures: &mut Figures) {
        figures.set("rounds", self.ours.len());
        figures.set("install.image_bytes", self.image_bytes);
        for (who, samples) in [("install", &self.ours), ("pipeline", &self.pipeline)] {
            let mut add = |key: &str, value: &dyn Fn(&Sample) -> f64| {
                let spread = Spread::of(samples.iter().map(value));
                figures.set_spread(&format!("{who}.{key}"), spread);
            };
            add("wall_seconds", &|sample| sample.wall.as_secs_f64());
            add("cpu_seconds", &|sample| sample.cpu.as_secs_f64());
            add("memory_peak_bytes", &|sample| sample.memory_peak_bytes as f64);
            add("wire_bytes", &|sample| sample.wire_bytes as f64);
            add("target_write_ratio", &|sample| sample.write_ratio);
        }
        let [ours, pipeline] = [&self.ours, &self.pipeline].map(|samples| {
            samples.iter().map(|sample| sample.wall.as_secs_f64()).collect::<Vec<_>>()
        });
        figures.set_spread("install.ratio_pipeline", Spread::ratio(&ours, &pipeline));
    }
}
