//! Lives that are interrupted at each of their effects in turn.

use super::device::*;
use super::*;

type Live = fn(&mut Device);

const LIVES: [(&str, Live); 8] = [
    ("an update", |device| device.poll(2)),
    ("two updates", |device| {
        device.poll(2);
        device.poll(3);
    }),
    ("a sick release", |device| {
        device.healthy = |release| release != 2;
        device.poll(2);
    }),
    ("a kernel that panics", |device| {
        device.kernel = |release| if release == 2 { Kernel::Panics } else { Kernel::Runs };
        device.poll(2);
    }),
    ("a kernel that is refused", |device| {
        device.kernel = |release| if release == 2 { Kernel::Refused } else { Kernel::Runs };
        device.poll(2);
    }),
    ("a rollback and an update", |device| {
        device.poll(2);
        device.say(Command::Rollback);
        device.say(Command::Update { retry_failed: false });
    }),
    ("a cancelled update", |device| {
        device.waits = true;
        device.poll(2);
        device.say(Command::Cancel);
    }),
    ("an update that a pin undoes", |device| {
        device.waits = true;
        device.poll(2);
        device.say(Command::Pin { release: None });
    }),
];

/// At every effect the disk boots (`Device::write`); afterwards the device comes to rest on a
/// confirmed slot whose release is well, and still takes a good one.
#[test]
fn a_life_that_is_interrupted_anywhere_ends_well() {
    let mut interruptions = 0;
    for (name, live) in LIVES {
        for how in [How::Killed, How::Cut] {
            for after in 0.. {
                let mut device = Device::new();
                device.interruption = Some(Interruption { after, how });
                live(&mut device);
                if device.interruption.is_some() {
                    break;
                }
                interruptions += 1;
                device.waits = false;
                device.life.memory.pinned = None;
                let channel = device.channel;
                (0..3).for_each(|_| device.poll(channel));
                let running = device.running();
                let well = (device.healthy)(running) && (device.kernel)(running) == Kernel::Runs;
                assert!(well, "{name}, after {after} effects: release {running}");
                device.boots = 0;
                device.poll(7);
                let (running, phase) = (device.running(), &device.life.phase);
                assert_eq!((running, phase), (7, &Phase::Idle), "{name}, after {after} effects");
                assert!(device.attributes[index(device.booted)].successful());
            }
        }
    }
    assert!(interruptions > 150, "{interruptions}");
}
