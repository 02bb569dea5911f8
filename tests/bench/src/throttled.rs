//! An install onto a slow disk, beside the time that the disk itself takes.

use std::path::Path;

use crate::cgroup::Throttle;
use crate::figures::Spread;
use crate::install::install_throttled;
use crate::{BenchError, Figures, FileServer, Release, Sample, TestDisk, Way};

/// As an eMMC's, in bytes per second.
const READ: u64 = 200_000_000;
const WRITE: u64 = 100_000_000;

/// The installs of all rounds.
#[derive(Debug)]
pub struct Throttled {
    image_bytes: u64,
    samples: Vec<Sample>,
}

impl Throttled {
    /// Installs `rounds` times with `program` (`bench-install`).
    pub fn measure(
        program: &Path,
        release: &Release,
        disk: &TestDisk,
        rounds: usize,
        note: &dyn Fn(&str),
    ) -> Result<Self, BenchError> {
        let server = FileServer::start(&release.folder)?;
        let throttle = Throttle {
            device: disk.device.number()?,
            read_bytes_per_second: READ,
            write_bytes_per_second: WRITE,
        };
        let mut samples = Vec::new();
        for round in 1..=rounds {
            note(&format!("a slow disk, round {round} of {rounds}"));
            let contenders = (&server, disk);
            let throttle = Some(&throttle);
            samples.push(install_throttled(program, release, Way::Full, contenders, throttle)?);
        }
        let image_bytes = release.manifest.images.iter().map(|image| image.size).sum();
        Ok(Self { image_bytes, samples })
    }

    /// Adds what the rounds come to. The network, on loopback, is no bound.
    pub fn add_to(&self, figures: &mut Figures) {
        let stored = self.image_bytes as f64;
        let bound = stored / WRITE as f64 + stored / READ as f64;
        let wall = Spread::of(self.samples.iter().map(|sample| sample.wall.as_secs_f64()));
        figures.set("throttled.rounds", self.samples.len());
        figures.set("throttled.read_bytes_per_second", READ);
        figures.set("throttled.write_bytes_per_second", WRITE);
        figures.set("throttled.bound_seconds", bound);
        figures.set_spread("throttled.install.wall_seconds", wall);
        figures.set_spread("throttled.install.ratio_bound", wall.scaled(1.0 / bound));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_bound_is_to_write_and_then_to_read() {
        let sample = Sample {
            wall: Duration::from_secs(12),
            cpu: Duration::ZERO,
            memory_peak_bytes: 0,
            wire_bytes: 0,
            write_ratio: 1.0,
        };
        let throttled = Throttled { image_bytes: 1_000_000_000, samples: vec![sample] };
        let mut figures = Figures::default();
        throttled.add_to(&mut figures);
        assert_eq!(figures.number("throttled.bound_seconds").unwrap(), 15.0);
        assert_eq!(figures.number("throttled.install.ratio_bound").unwrap(), 0.8);
    }
}
