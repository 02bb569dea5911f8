//! Three servers on one store sign the timestamp again and again, by a clock that runs fast, while they
//! are killed and stopped, a publisher publishes, and a device checks.
//!
//! `cargo xtask soak` does it at length, and a test for a while.

mod audit;
mod clock;
mod device;
mod random;
mod servers;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use payload_tools::testing::{noise, osrel, uki};
use rustix::process::Signal;
use seesaw_harness::programs::programs;
use thiserror::Error;

use self::audit::Audit;
pub use self::audit::Published;
pub use self::clock::FastClock;
use self::device::Device;
pub use self::random::Random;
use self::servers::Servers;
use crate::COMPATIBLE;
use crate::command::Failure;
use crate::publisher::Publisher;
use crate::server::Server;

const SERVERS: usize = 3;
/// Two days are 16 seconds, and what people sign for 90 days is good for 12 minutes.
const SPEED: i64 = 10_800;
/// Releases in all: the signed list has no room for hundreds.
const RELEASES_MAX: u64 = 40;
const LIFETIME_MAX: Duration = Duration::from_millis(400);
const STOP_MAX: Duration = Duration::from_millis(60);
/// One that holds the store keeps the others from it: less than half of how long they would wait for it.
const LONG_STOP_MAX: Duration = Duration::from_millis(1500);
const PUBLISH_PAUSE_MAX: Duration = Duration::from_millis(1500);
/// What the publisher's tool says of a server that does not answer, or cannot have the store.
const CUT: [&str; 2] = ["no answer from http://", "(unavailable)"];
const WATCH_PERIOD: Duration = Duration::from_millis(5);

/// How long a soak is.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// It ends once the timestamp was signed again so often.
    pub signs: u64,
    /// Chooses when what is killed or stopped.
    pub seed: u64,
}

/// What a soak came to.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// What was published.
    pub published: Published,
    /// Publications that this cut.
    pub cuts: u64,
    /// Servers killed.
    pub kills: u64,
    /// Servers stopped for a while.
    pub stops: u64,
    /// Checks of the device that got to their end.
    pub checks: u64,
    /// Checks that were cut.
    pub cut: u64,
    /// How long it took.
    pub took: Duration,
}

/// Why a soak failed.
#[derive(Debug, Error)]
pub enum SoakError {
    /// Something that must not be.
    #[error("{0}")]
    Wrong(String),
    /// A program.
    #[error(transparent)]
    Program(#[from] Failure),
    /// The store.
    #[error("reading the store")]
    Store(#[from] rusqlite::Error),
    /// A timestamp that is none.
    #[error("reading a timestamp")]
    Json(#[from] serde_json::Error),
}

impl From<std::io::Error> for SoakError {
    fn from(error: std::io::Error) -> Self {
        Self::Program(error.into())
    }
}

/// What everybody in a soak sees.
struct World {
    folder: PathBuf,
    publisher: Publisher,
    servers: Servers,
    clock: FastClock,
    ended: AtomicBool,
    /// The first failure of anybody, which ends it.
    failed: Mutex<Option<SoakError>>,
    cuts: AtomicU64,
    kills: AtomicU64,
    stops: AtomicU64,
}

impl Soak {
    /// Runs it; an error is what must not be.
    ///
    /// # Errors
    /// When something that must hold did not, or a program of the soak failed.
    pub fn run(self) -> Result<Figures, SoakError> {
        let began = Instant::now();
        let folder = tempfile::tempdir()?;
        let (world, audit) = World::begin(folder.path())?;
        let mut device = Device::new(fs::read(world.publisher.first_root())?, world.clock);
        let random = |whose| Random::new(self.seed, whose);
        thread::scope(|scope| {
            let world = &world;
            for index in 0..SERVERS {
                let mut random = random(index as u64);
                scope.spawn(move || world.until_ended(|| world.harass(index, &mut random)));
            }
            let (mut of_publisher, mut counter) = (random(100), 2);
            scope.spawn(move || {
                world.until_ended(|| world.publish(&mut counter, &mut of_publisher))
            });
            let (mut of_device, device) = (random(101), &mut device);
            scope.spawn(move || world.until_ended(|| world.check(device, &mut of_device)));
            world.until_ended(|| world.watch(&audit, self.signs));
        });
        if let Some(error) = world.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        Ok(Figures {
            published: audit.judge(world.clock)?,
            cuts: world.cuts.into_inner(),
            kills: world.kills.into_inner(),
            stops: world.stops.into_inner(),
            checks: device.checks,
            cut: device.cut,
            took: began.elapsed(),
        })
    }
}

impl World {
    /// The order of birth, with a server as it is shipped; then several in its place.
    fn begin(folder: &Path) -> Result<(Self, Audit), SoakError> {
        let programs = programs().map_err(Failure::from)?;
        let mut first = Server::start(&programs, folder, 60)?;
        let publisher = Publisher::found(&programs, &folder.join("publisher"), &first)?;
        publisher.publish(&build(&publisher, folder, 1)?, "stable", &first)?;
        first.stop();
        let data = folder.join("server");
        let audit = Audit::begin(&data.join("store.sqlite"))?;
        let clock = FastClock::starting_now(SPEED);
        let program = programs.update_server.with_file_name("soak-server");
        let servers = Servers::start(program, data, folder.to_owned(), clock, SERVERS)?;
        let world = Self {
            folder: folder.to_owned(),
            publisher,
            servers,
            clock,
            ended: false.into(),
            failed: Mutex::default(),
            cuts: 0.into(),
            kills: 0.into(),
            stops: 0.into(),
        };
        Ok((world, audit))
    }

    /// Does something again and again, until somebody has failed or there is enough.
    fn until_ended(&self, mut step: impl FnMut() -> Result<(), SoakError>) {
        while !self.ended.load(Ordering::Relaxed) {
            if let Err(error) = step() {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
                self.ended.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Lets a server live for a while, then kills it, or stops it and lets it go on.
    fn harass(&self, index: usize, random: &mut Random) -> Result<(), SoakError> {
        thread::sleep(random.up_to(LIFETIME_MAX));
        if random.one_in(3) {
            self.servers.replace(index)?;
            self.kills.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let stop = if random.one_in(10) { LONG_STOP_MAX } else { STOP_MAX };
        self.servers.signal(index, Signal::STOP)?;
        thread::sleep(random.up_to(stop));
        self.servers.signal(index, Signal::CONT)?;
        self.stops.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Publishes a release, or has the snapshot signed again. What a server's death cut is done again.
    fn publish(&self, counter: &mut u64, random: &mut Random) -> Result<(), SoakError> {
        thread::sleep(random.up_to(PUBLISH_PAUSE_MAX));
        let Some(address) = self.servers.address(random.below(SERVERS as u64) as usize) else {
            return Ok(());
        };
        let (url, token) = (format!("http://{address}"), self.folder.join("token"));
        let release = build(&self.publisher, &self.folder, *counter)?;
        let published = match *counter < RELEASES_MAX && random.one_in(2) {
            true => self.publisher.publish_at(&release, "stable", &url, &token).map(|()| 1),
            false => self.publisher.renew_at(&url, &token).map(|()| 0),
        };
        match published {
            Ok(releases) => *counter += releases,
            Err(failure) if is_cut(&failure) => {
                self.cuts.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(())
    }

    fn check(&self, device: &mut Device, random: &mut Random) -> Result<(), SoakError> {
        match self.servers.address(random.below(SERVERS as u64) as usize) {
            Some(address) => Ok(device.check(&address)?),
            None => Ok(()),
        }
    }

    /// What a device would be told now is good, until enough was signed.
    fn watch(&self, audit: &Audit, signs: u64) -> Result<(), SoakError> {
        thread::sleep(WATCH_PERIOD);
        if audit.expires()? <= self.clock.now().as_second() {
            return Err(SoakError::Wrong("the timestamp has expired".to_owned()));
        }
        if audit.re_signs()? >= signs {
            self.ended.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Whether a publisher met a server that was killed, is stopped, or waits for one that is.
fn is_cut(failure: &Failure) -> bool {
    let Failure::Ended { output, .. } = failure else { return false };
    CUT.iter().any(|cut| output.contains(cut))
}

/// Builds a small release whose name is its counter, once; its folder.
fn build(publisher: &Publisher, folder: &Path, counter: u64) -> Result<PathBuf, SoakError> {
    let out = folder.join(format!("release-{counter}"));
    if !out.exists() {
        let text = osrel(COMPATIBLE, &counter.to_string(), counter);
        let sections: [(&str, &[u8]); 3] =
            [(".osrel", text.as_bytes()), (".cmdline", b"panic=10"), (".linux", &[7; 512])];
        let (kernel, root) = (folder.join("kernel"), folder.join("root"));
        fs::write(&kernel, uki(&sections))?;
        fs::write(&root, noise(counter, 4096))?;
        publisher.build(counter, &kernel, &root, &out)?;
    }
    Ok(out)
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { published, cuts, kills, stops, checks, cut, took } = self;
        let Published { re_signs, publications, pause_seconds_max, left_seconds_min } = published;
        let hours = |seconds: i64| seconds as f64 / 3600.0;
        writeln!(f, "{re_signs} re-signs and {publications} publications by {SERVERS} servers")?;
        writeln!(f, "{kills} times one was killed, {stops} times stopped for a while")?;
        writeln!(f, "{checks} checks of a device were whole, {cut} were cut by that")?;
        writeln!(f, "{cuts} times a publisher was")?;
        writeln!(
            f,
            "longest pause {:.1} h, least time left {:.1} h of 48, by a clock {SPEED} times as fast",
            hours(*pause_seconds_max),
            hours(*left_seconds_min)
        )?;
        write!(f, "took {} s", took.as_secs())
    }
}
