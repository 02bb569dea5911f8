//! An install that is killed again and again, while its server restarts and moves: what it fetches
//! and writes in all. `SEESAW_SOAK_KILLS=200` for the long run, which prints its figures.

use std::os::unix::fs::FileExt;

use partition_layout::{Partition, SlotLetter, SlotState};
use seesaw_e2e::command::Failure;
use seesaw_e2e::counter::Counter;
use seesaw_e2e::image_file::World;
use seesaw_e2e::loop_device::LoopDevice;
use seesaw_e2e::soak::Random;

const MIB: u64 = 1 << 20;
const SEGMENT: u64 = 4 * MIB;
const ROOT: u64 = 96 * MIB;
/// Kills, where nobody says how many.
const SHORT: u64 = 6;
const SEED: u64 = 20_261_127;

struct Soak {
    world: World,
    device: LoopDevice,
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
        let device = LoopDevice::attach(&world.path("disk"))?;
        world.work_on(device.path().to_owned());
        let counter = Counter::before(world.server.url())?;
        world.ask_at(counter.url())?;
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
        self.world.ask_at(self.counter.url())
    }

    /// Nothing of the release is left in the target.
    fn spoil_target(&self) -> Result<(), Failure> {
        let slot = self.world.slot(SlotLetter::B)?;
        let disk = std::fs::OpenOptions::new().write(true).open(self.device.path())?;
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
    soak.world.ask_at(soak.counter.url())?;
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
