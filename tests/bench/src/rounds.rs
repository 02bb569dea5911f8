//! Rounds of all contenders, and what they come to.

use std::path::Path;

use crate::figures::Spread;
use crate::peers::{Updater, Updaters, pipeline};
use crate::release::Fill;
use crate::{BenchError, Figures, FileServer, Release, Sample, TestDisk, Way, install};

/// Who writes an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Ours.
    Seesaw,
    /// `curl | zstd -d | dd`.
    Pipeline,
    /// Others' programs.
    Updater(Updater),
}

impl Contender {
    pub const ALL: [Contender; 4] = [
        Contender::Seesaw,
        Contender::Pipeline,
        Contender::Updater(Updater::Rauc),
        Contender::Updater(Updater::Swupdate),
    ];

    /// What it is called in keys.
    pub fn key(self) -> &'static str {
        match self {
            Contender::Seesaw => "install",
            Contender::Pipeline => "pipeline",
            Contender::Updater(updater) => updater.key(),
        }
    }
}

/// The rounds of a comparison, on one machine.
#[derive(Debug)]
pub struct Comparison {
    fill: Fill,
    image_bytes: u64,
    /// Of [`Contender::ALL`], each round's.
    rounds: Vec<[Sample; 4]>,
    versions: [(Updater, String); 2],
}

/// What takes part in a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Contest<'a> {
    /// Our `bench-install`.
    pub program: &'a Path,
    /// Where others' programs are kept.
    pub cache: &'a Path,
    /// How many rounds count.
    pub rounds: usize,
}

impl Contest<'_> {
    /// Runs all contenders by turns, after one round that does not count. `note` is told of each.
    pub fn run(
        self,
        release: &Release,
        fill: Fill,
        disk: &TestDisk,
        note: &dyn Fn(&str),
    ) -> Result<Comparison, BenchError> {
        let updaters = Updaters::prepare(self.cache, release, note)?;
        let server = FileServer::start(&release.folder)?;
        let run = |contender| match contender {
            Contender::Seesaw => install(self.program, release, Way::Full, &server, disk),
            Contender::Pipeline => pipeline(release, &server, disk),
            Contender::Updater(updater) => updaters.install(updater, release, &server, disk),
        };
        let mut rounds = Vec::new();
        for round in 0..=self.rounds {
            note(&format!(
                "round {round} of {}{}",
                self.rounds,
                if round == 0 { ", not counted" } else { "" }
            ));
            // Another is the first each round: who comes after one that fills the page cache waits
            // for what is still written of it.
            let mut order = Contender::ALL;
            let first = round % order.len();
            order.rotate_left(first);
            let mut samples = order.map(run);
            samples.rotate_right(first);
            let [ours, pipeline, rauc, swupdate] = samples;
            rounds.push([ours?, pipeline?, rauc?, swupdate?]);
        }
        rounds.remove(0);
        let image_bytes = release.manifest.images.iter().map(|image| image.size).sum();
        let version = |updater| Ok::<_, BenchError>((updater, updaters.version(updater)?));
        let versions = [version(Updater::Rauc)?, version(Updater::Swupdate)?];
        Ok(Comparison { fill, image_bytes, rounds, versions })
    }
}

impl Comparison {
    /// Adds what the rounds come to.
    pub fn add_to(&self, figures: &mut Figures) {
        let prefix = prefix(self.fill);
        figures.set("rounds", self.rounds.len());
        figures.set("install.image_bytes", self.image_bytes);
        for (updater, version) in &self.versions {
            figures.set(&format!("{}.version", updater.key()), version.as_str());
        }
        let wall = |index: usize| -> Vec<f64> {
            self.rounds.iter().map(|round| round[index].wall.as_secs_f64()).collect()
        };
        for (index, contender) in Contender::ALL.into_iter().enumerate() {
            let who = contender.key();
            let mut add = |key: &str, value: &dyn Fn(&Sample) -> f64| {
                let spread = Spread::of(self.rounds.iter().map(|round| value(&round[index])));
                figures.set_spread(&format!("{prefix}{who}.{key}"), spread);
            };
            add("wall_seconds", &|sample| sample.wall.as_secs_f64());
            add("cpu_seconds", &|sample| sample.cpu.as_secs_f64());
            add("memory_peak_bytes", &|sample| sample.memory_peak_bytes as f64);
            add("wire_bytes", &|sample| sample.wire_bytes as f64);
            add("target_write_ratio", &|sample| sample.write_ratio);
            if contender != Contender::Seesaw {
                let ratio = Spread::ratio(&wall(0), &wall(index));
                figures.set_spread(&format!("{prefix}install.ratio_{who}"), ratio);
            }
        }
    }
}

/// What comes before the keys of an image's figures.
pub(crate) fn prefix(fill: Fill) -> &'static str {
    match fill {
        Fill::Dense => "",
        Fill::HalfEmpty => "half_empty.",
    }
}
