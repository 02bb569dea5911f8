//! An install that is killed again and again, while its server restarts and moves: what it fetches
//! and writes in all. `SEESAW_SOAK_KILLS=200` for the long run, which prints its figures.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use partition_layout::{Partition, SlotLetter, SlotState};
use seesaw_e2e::command::{Failure, succeed};
use seesaw_e2e::image_file::World;
use seesaw_e2e::soak::Random;

const MIB: u64 = 1 << 20;
const SEGMENT: u64 = 4 * MIB;
const ROOT: u64 = 96 * MIB;
/// Kills, where nobody says how many.
const SHORT: u64 = 6;
const SEED: u64 = 20_261_127;

/// The image file as a block device, whose writes the kernel counts.
struct Loop(PathBuf);

impl Loop {
    fn attach(file: &Path) -> Result<Self, Failure> {
        let mut losetup = Command::new("losetup");
        let found = succeed(losetup.args(["--find", "--show", "--direct-io=on"]).arg(file))?;
        Ok(Loop(String::from_utf8_lossy(&found.stdout).trim().into()))
    }

    /// Bytes written since it was attached.
    fn written(&self) -> Result<u64, Failure> {
        let name = self.0.file_name().unwrap_or_default();
        let stat = std::fs::read_to_string(Path::new("/sys/block").join(name).join("stat"))?;
        let sectors =
            stat.split_whitespace().nth(6).and_then(|sectors| sectors.parse::<u64>().ok());
        Ok(sectors.expect("the seventh number") * 512)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// A proxy that counts the bytes that it passes on to the device.
#[derive(Clone)]
struct Counter {
    url: String,
    passed: Arc<(Mutex<u64>, Condvar)>,
}

impl Counter {
    fn before(server: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = server.trim_start_matches("http://").to_owned();
        let counter = Self { url, passed: Arc::default() };
        let of_thread = counter.clone();
        std::thread::spawn(move || {
            for device in listener.incoming().flatten() {
                let (counter, server) = (of_thread.clone(), server.clone());
                // Who hangs up has heard enough.
                std::thread::spawn(move || counter.pass(device, &server));
            }
        });
        Ok(counter)
    }

    fn pass(&self, mut device: TcpStream, server: &str) -> io::Result<()> {
        let mut server = TcpStream::connect(server)?;
        let (mut asks, mut of_server) = (device.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            let _ = io::copy(&mut asks, &mut of_server);
            of_server.shutdown(std::net::Shutdown::Both)
        });
        let mut piece = [0; 16 << 10];
        loop {
            let len = server.read(&mut piece)?;
            if len == 0 {
                return device.shutdown(std::net::Shutdown::Both);
            }
            device.write_all(&piece[..len])?;
            *self.passed.0.lock().unwrap_or_else(PoisonError::into_inner) += len as u64;
            self.passed.1.notify_all();
        }
    }

    fn passed(&self) -> u64 {
        *self.passed.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many bytes have passed in all, or a moment; whether they have.
    fn reaches(&self, bytes: u64) -> bool {
        let passed = self.passed.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = Duration::from_millis(20);
        let waited = self.passed.1.wait_timeout_while(passed, moment, |passed| *passed < bytes);
        *waited.unwrap_or_else(PoisonError::into_inner).0 >= bytes
    }
}

struct Soak {
    world: World,
    device: Loop,
    counter: Counter,
    random: Random,
    kills: u64,
    installs: u64,
    moves: u64,
    fetched: u64,
    written: u64,
}

impl Soak {
    fn new() -> Result<Self, Failure> {
        let mut world = World::with_root(ROOT)?;
        world.publish(2)?;
        std::fs::write(world.path("config/20-manual.toml"), "[reboot]\nstrategy = \"manual\"\n")?;
        let device = Loop::attach(&world.path("disk"))?;
        world.work_on(device.0.clone());
        let counter = Counter::before(world.server.url())?;
        world.ask_at(&counter.url)?;
        Ok(Self {
            world,
            device,
            counter,
            random: Random::new(SEED, 0),
            kills: 0,
            installs: 0,
            moves: 0,
            fetched: 0,
            written: 0,
        })
    }

    /// The server is started anew, and found at another address.
    fn move_server(&mut self) -> Result<(), Failure> {
        self.world.server.stop();
        self.world.server.start_again()?;
        self.fetched += self.counter.passed();
        self.counter = Counter::before(self.world.server.url())?;
        self.moves += 1;
        self.world.ask_at(&self.counter.url)
    }

    /// Nothing of the release is left in the target.
    fn spoil_target(&self) -> Result<(), Failure> {
        let slot = self.world.slot(SlotLetter::B)?;
        let disk = std::fs::OpenOptions::new().write(true).open(&self.device.0)?;
        for Partition { offset, size, .. } in [&slot.kernel, &slot.root] {
            for at in (0..*size).step_by(1 << 20) {
                disk.write_all_at(&[0xA5; 1 << 20], offset + at)?;
            }
        }
        Ok(disk.sync_all()?)
    }

    /// One install, killed until it is through, or as often as is left.
    fn install(&mut self, kills_max: u64) -> Result<(), Failure> {
        self.spoil_target()?;
        let before = self.device.written()?;
        let mut killed = 0;
        loop {
            let mut update = self.world.line(&["update"]);
            let limit = self.counter.passed() + self.random.below(3 * SEGMENT);
            let mut update = update.stdout(std::process::Stdio::null()).spawn()?;
            let ended = loop {
                if let Some(status) = update.try_wait()? {
                    break Some(status);
                }
                if killed < kills_max && self.counter.reaches(limit) {
                    break None;
                }
                if killed >= kills_max {
                    break Some(update.wait()?);
                }
            };
            match ended {
                Some(status) => {
                    assert_eq!(status.code(), Some(4), "after {killed} kills");
                    break;
                }
                None => {
                    update.kill()?;
                    update.wait()?;
                    killed += 1;
                }
            }
            if self.random.below(10) == 0 {
                self.move_server()?;
            }
        }
        self.written += self.device.written()? - before;
        self.kills += killed;
        self.installs += 1;
        assert_eq!(self.world.slot(SlotLetter::B)?.attributes.state(), SlotState::Trial);
        assert_eq!(self.world.updatectl(&["cancel"])?.0, 0);
        Ok(())
    }
}

/// What one install fetches and writes that nobody disturbs.
#[test]
fn kills_cost_a_segment_each_at_most() -> Result<(), Failure> {
    let kills = std::env::var("SEESAW_SOAK_KILLS").ok().and_then(|kills| kills.parse().ok());
    let kills: u64 = kills.unwrap_or(SHORT);
    let mut soak = Soak::new()?;
    soak.install(0)?;
    let (payload, image) = (soak.counter.passed(), soak.written);
    (soak.fetched, soak.written, soak.installs, soak.moves) = (0, 0, 0, 0);
    soak.counter = Counter::before(soak.world.server.url())?;
    soak.world.ask_at(&soak.counter.url)?;
    while soak.kills < kills {
        soak.install(kills - soak.kills)?;
    }
    let fetched = soak.fetched + soak.counter.passed();
    let Soak { kills, installs, moves, written, .. } = soak;
    let per_kill = |all: u64, once: u64| all.saturating_sub(installs * once) as f64 / kills as f64;
    let (more_fetched, more_written) = (per_kill(fetched, payload), per_kill(written, image));
    eprintln!(
        "seed {SEED}: {kills} kills in {installs} installs, the server moved {moves} times; an \
         install undisturbed fetches {payload} bytes and writes {image}; in all {fetched} fetched, \
         {written} written: {more_fetched:.0} and {more_written:.0} bytes more per kill, of {SEGMENT}"
    );
    assert!(more_fetched <= SEGMENT as f64 && more_written <= SEGMENT as f64);
    Ok(())
}
