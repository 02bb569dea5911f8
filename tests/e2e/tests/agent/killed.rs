use std::time::Duration;

use partition_layout::SlotState;
use payload_tools::testing::noise;
use seesaw_e2e::command::Failure;
use seesaw_e2e::image_file::{Kernel, REBOOT, World};

/// Milliseconds to live, from 1 to 800.
fn lifetimes(seed: u64, count: usize) -> impl Iterator<Item = u64> {
    let noise = noise(seed, 2 * count);
    let numbers = noise.chunks(2).map(|two| u64::from(two[0]) << 8 | u64::from(two[1]));
    numbers.map(|number| number % 800 + 1).collect::<Vec<_>>().into_iter()
}

/// The daemon dies again and again, with the machine or alone, while it checks, writes, activates,
/// tries and confirms.
#[test]
fn a_device_whose_agent_is_killed_at_any_moment_boots_and_gets_there() -> Result<(), Failure> {
    const SEED: u64 = 20_261_127;
    let mut world = World::new()?;
    std::fs::write(world.path("config/20-poll.toml"), "[updates]\npoll_seconds = 1\n")?;
    let mut lifetimes = lifetimes(SEED, 24);
    let mut killed = 0;
    for release in 2..6_u64 {
        world.publish(release)?;
        for attempt in 0..6 {
            let before = world.fingerprint(world.booted)?;
            let mut daemon = world.spawn_agent()?;
            let lifetime = lifetimes.next().unwrap_or(1);
            std::thread::sleep(Duration::from_millis(lifetime));
            let ended = daemon.try_wait()?;
            killed += u32::from(ended.is_none());
            daemon.kill()?;
            daemon.wait()?;
            let at = format!("seed {SEED}, release {release}, {lifetime} ms");
            assert_eq!(world.fingerprint(world.booted)?, before, "the booted slot changed: {at}");
            if ended.is_some() || attempt % 2 == 1 {
                world.boot_unjudged(|_| Kernel::Runs)?;
                let state = world.slot(world.booted)?.attributes.state();
                assert!(
                    matches!(state, SlotState::Confirmed | SlotState::Trial),
                    "{state:?}: {at}"
                );
            }
        }
        for _ in 0..4 {
            if world.agent()? == 0 {
                break;
            }
            world.boot(|_| Kernel::Runs)?;
        }
        assert_eq!(world.slot(world.booted)?.attributes.state(), SlotState::Confirmed);
    }
    assert!(killed > 3, "{killed} were killed at work");
    world.publish(9)?;
    assert_eq!(world.agent()?, REBOOT);
    world.boot(|_| Kernel::Runs)?;
    assert_eq!((world.agent()?, world.running()?.as_str()), (0, "9"));
    Ok(())
}
