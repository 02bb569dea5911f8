//! The power fails while a real system installs: each write that its disk was asked for is logged, and
//! the disk is put together as a cut leaves it at any moment. `SEESAW_SOAK_CUTS=50` for the long run,
//! which prints its figures.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fs_err as fs;
use partition_layout::SlotLetter::{A, B};
use partition_layout::{SlotLetter, SlotState};
use seesaw_e2e::counter::Counter;
use seesaw_e2e::image_file::{Kernel, World};
use seesaw_e2e::loop_device::LoopDevice;
use seesaw_e2e::soak::Random;
use seesaw_harness::image::File;
use seesaw_harness::programs::programs;
use seesaw_harness::qemu::{Entry, Operation, WriteLog};

use crate::CONFIRMED;
use crate::device::{BOOT, COMMAND, Device, image_with, selector};

const MIB: u64 = 1 << 20;
const SEGMENT: u64 = 4 * MIB;
const ROOT: u64 = 48 * MIB;
/// An emulated processor hashes and decodes that.
const INSTALL: Duration = Duration::from_secs(400);
/// Cuts, where nobody says how many.
const SHORT: u64 = 6;
const SEED: u64 = 20_261_128;
/// Updated, and its slot begins with the next boot.
const STAGED: i32 = 4;
const MANUAL: &str = "[reboot]\nstrategy = \"manual\"\n";
/// Of the guest's.
const FOLDER: &str = "/run/device";

/// What an install has come to at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moment {
    /// Bytes of the disk's log.
    logged: u64,
    /// Bytes that passed on their way to the device.
    fetched: u64,
}

/// What was fetched and written.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    fetched: u64,
    written: u64,
}

/// Installs release 2 as an undisturbed device does: what that costs.
fn install(world: &mut World) -> Cost {
    let disk = LoopDevice::attach(&world.path("disk")).unwrap();
    world.work_on(disk.path().to_owned());
    let counter = Counter::before(world.server.url()).unwrap();
    world.ask_at(counter.url()).unwrap();
    let _ = fs::remove_dir_all(world.path("state"));
    let (code, said) = world.updatectl(&["update"]).unwrap();
    assert_eq!(code, STAGED, "{said}");
    assert_eq!(world.slot(B).unwrap().attributes.state(), SlotState::Trial);
    Cost { fetched: counter.passed(), written: disk.written().unwrap() }
}

/// Installs release 2 in a guest, on a disk with a log; what it had come to, moment by moment.
fn install_in_guest(world: &World, log: &std::path::Path) -> Vec<Moment> {
    let device = Device::new(&selector());
    let updatectl = File::program("usr/bin/updatectl", programs().unwrap().updatectl);
    device.fill(A, CONFIRMED, &image_with("1", "", vec![updatectl]));
    fs::write(log, "").unwrap();
    let machine = device.machine().network().logged_disk(world.path("disk"), log);
    let (_guest, mut shell) = device.start_as(machine);
    shell.wait_for_boot(BOOT).unwrap();
    let counter = Counter::before(world.server.url()).unwrap();
    let url = counter.url().replace("127.0.0.1", "10.0.2.2");
    let server = format!("[server]\nurl = \"{url}\"\n{MANUAL}");
    let first_root = fs::read(&world.first_root).unwrap();
    for (name, content) in
        [("config/10-server.toml", server.as_bytes()), ("root.json", &first_root)]
    {
        shell.write_file(&format!("{FOLDER}/{name}"), content, COMMAND).unwrap();
    }
    // The route to 10.0.2.2, as the kernel spells it.
    let until_online = "until grep -q 0202000A /proc/net/route; do sleep 1; done";
    shell.succeed(until_online, BOOT).unwrap();
    let update = format!(
        "updatectl --disk /dev/vdb --state {FOLDER}/state --config {FOLDER}/config \
         --first-root {FOLDER}/root.json --booted A update --json"
    );
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let moments = scope.spawn(|| {
            let mut moments = vec![Moment::default()];
            while !has_ended.load(Ordering::Relaxed) {
                let logged = fs::metadata(log).unwrap().len();
                let moment = Moment { logged, fetched: counter.passed() };
                counter.reaches(moment.fetched + 1);
                if moments.last() != Some(&moment) {
                    moments.push(moment);
                }
            }
            moments
        });
        let updated = shell.run(&update, INSTALL);
        // First of all, or the thread would never end.
        has_ended.store(true, Ordering::Relaxed);
        let updated = updated.unwrap();
        assert_eq!(i32::from(updated.status), STAGED, "{}", updated.text);
        moments.join().unwrap()
    })
}

/// A device on whose disk release 2 was installed, write by write.
struct Installed {
    world: World,
    log: WriteLog,
    /// Stand for the bytes of both slots, with release 1 and 2 in them.
    whole: [u64; 2],
    undisturbed: Cost,
}

impl Installed {
    fn new() -> (Self, Vec<Moment>) {
        let mut world = World::with_root(ROOT).unwrap();
        world.publish(2).unwrap();
        fs::write(world.path("config/20-manual.toml"), MANUAL).unwrap();
        let [disk, before, log] = ["disk", "before", "log"].map(|name| world.path(name));
        fs::copy(&disk, &before).unwrap();
        let undisturbed = install(&mut world);
        let whole = [A, B].map(|letter| world.fingerprint(letter).unwrap());
        fs::copy(&before, &disk).unwrap();
        let moments = install_in_guest(&world, &log);
        assert_eq!(world.fingerprint(B).unwrap(), whole[1], "what the guest installed");
        let log = WriteLog::open(&log).unwrap();
        (Self { world, log, whole, undisturbed }, moments)
    }

    /// Cuts the power after so many requests, and boots: the slot that comes up is whole.
    fn cut(&mut self, requests: usize, survives: impl FnMut() -> bool) -> SlotLetter {
        let Self { world, log, whole: [of_a, of_b], .. } = self;
        let disk = world.path("disk");
        fs::copy(world.path("before"), &disk).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&disk).unwrap();
        log.cut(&log.entries()[..requests], &file, survives).unwrap();
        world.work_on(disk);
        world.booted = A;
        world.boot_unjudged(|_| Kernel::Runs).unwrap();
        // There is a way back from a trial.
        assert_eq!(world.fingerprint(A).unwrap(), *of_a, "{requests} requests");
        if world.booted == B {
            assert_eq!(world.fingerprint(B).unwrap(), *of_b, "{requests} requests");
        }
        world.booted
    }

    /// What a cut at a moment costs, if release 2 does not run after it already.
    fn cost(&mut self, moment: Moment, survives: impl FnMut() -> bool) -> Option<Cost> {
        let entries = self.log.entries();
        let requests = entries.partition_point(|entry| entry.end <= moment.logged);
        let written = entries[..requests].iter().map(Entry::written).sum::<u64>();
        if self.cut(requests, survives) == B {
            return None;
        }
        let resumed = install(&mut self.world);
        assert_eq!(self.world.fingerprint(B).unwrap(), self.whole[1], "{moment:?}");
        let Cost { fetched, written: once } = self.undisturbed;
        Some(Cost {
            fetched: (moment.fetched + resumed.fetched).saturating_sub(fetched),
            written: (written + resumed.written).saturating_sub(once),
        })
    }

    /// Of the log the requests that write the partition table.
    fn of_table(&self) -> Vec<usize> {
        let slots = [A, B].map(|letter| self.world.slot(letter).unwrap());
        let partitions: Vec<_> = slots.iter().flat_map(|slot| [&slot.kernel, &slot.root]).collect();
        let is_in_slot = |at: u64| {
            let mut within = partitions.iter().map(|part| part.offset..part.offset + part.size);
            within.any(|part| part.contains(&at))
        };
        let is_table = |entry: &Entry| match entry.operation {
            Operation::Write { at, .. } => !is_in_slot(at),
            Operation::Flush | Operation::Discard => false,
        };
        let entries = self.log.entries().iter().enumerate();
        entries.filter(|(_, entry)| is_table(entry)).map(|(index, _)| index).collect()
    }
}

/// Wherever the power fails, a whole system boots, and the install goes on for the bytes that it had
/// under way.
#[test]
fn a_power_cut_costs_a_segment_and_never_a_system() {
    let cuts = std::env::var("SEESAW_SOAK_CUTS").ok().and_then(|cuts| cuts.parse().ok());
    let cuts: u64 = cuts.unwrap_or(SHORT);
    let (mut installed, moments) = Installed::new();
    let mut random = Random::new(SEED, 0);
    let mut costs = Vec::new();
    for cut in 0..cuts {
        let moment = moments[random.below(moments.len() as u64) as usize];
        // What is not flushed is as it was asked for, or some of it is lost.
        let is_lossy = cut % 2 == 1;
        let cost = installed.cost(moment, || !is_lossy || random.one_in(2));
        eprintln!("{moment:?}, lossy {is_lossy}: {cost:?} more");
        costs.extend(cost);
    }
    let [fetched, written]: [fn(&Cost) -> u64; 2] = [|cost| cost.fetched, |cost| cost.written];
    let sums = [fetched, written].map(|of| costs.iter().map(of).sum::<u64>());
    let most = [fetched, written].map(|of| costs.iter().map(of).max().unwrap_or(0));
    eprintln!(
        "seed {SEED}: {} of {cuts} power cuts before the end of an install of {:?}; fetched and \
         written more, in all {sums:?} bytes, by one cut {most:?} at most, of {SEGMENT}",
        costs.len(),
        installed.undisturbed,
    );
    assert!(sums.iter().all(|sum| *sum <= cuts * SEGMENT));

    // And before and after each write of the table, where the order of boots changes.
    let of_table = installed.of_table();
    let around: BTreeSet<usize> = of_table.iter().flat_map(|index| [*index, index + 1]).collect();
    let mut booted = Vec::new();
    for requests in around {
        booted.extend([true, false].map(|survives| installed.cut(requests, || survives)));
    }
    eprintln!("{} cuts at {} writes of the table: {booted:?}", booted.len(), of_table.len());
    assert!(booted.contains(&A) && booted.contains(&B));
}
