//! The chain on small image files, in seconds, without root or QEMU.
//!
//! Publisher, server and agent are the real programs; the disk is a file, and in the place of
//! firmware and selector stands the boot decision. It shows the logic, not that anything boots.

use std::time::Instant;

use crate::command::{Failure, expect};
use crate::image_file::{Health, Kernel, REBOOT, World};

/// Runs the flow, telling each step on standard output.
///
/// # Errors
/// At the first step that does not do what it should.
pub fn run() -> Result<(), Failure> {
    let started = Instant::now();
    println!(
        "The chain on image files. No firmware, no kernel: this proves nothing about booting."
    );
    step("1", "a server, a publisher with its keys, a disk with release 1 in slot A");
    let mut world = World::without_judges()?;
    println!("{}", world.told(&["status"])?);

    step("2", "release 2 is published in stable; the agent takes it, and it confirms itself");
    world.publish(2)?;
    update(&mut world, "2")?;
    println!("{}", world.told(&["status"])?);

    step("3", "rollback: release 1 runs, and the channel does not pull 2 back");
    expect("exit status of rollback", world.updatectl(&["rollback"])?.0, 5)?;
    world.boot(runs)?;
    expect("the agent", world.agent()?, 0)?;
    expect("the release that runs", world.running()?, "1".to_owned())?;
    expect("exit status of check (held)", world.updatectl(&["check"])?.0, 6)?;

    step("4", "update lifts the hold and goes back to 2 without a download");
    expect("exit status of update", world.updatectl(&["update"])?.0, 4)?;
    world.boot(runs)?;
    expect("the agent", world.agent()?, 0)?;
    expect("the release that runs", world.running()?, "2".to_owned())?;

    step("5", "release 3 is sick: the device returns to 2 by itself and does not take 3 again");
    world.publish(3)?;
    expect("the agent", world.agent()?, REBOOT)?;
    world.boot(runs)?;
    world.turn(Health::Sick)?;
    expect("the agent on its trial", world.agent()?, REBOOT)?;
    world.turn(Health::Well)?;
    world.boot(runs)?;
    expect("the agent after the fallback", world.agent()?, 0)?;
    expect("the release that runs", world.running()?, "2".to_owned())?;
    println!("{}", world.told(&["status"])?);

    step("6", "release 4 panics: three tries, then 2 runs again");
    world.publish(4)?;
    expect("the agent", world.agent()?, REBOOT)?;
    let panics = |release: &str| if release == "4" { Kernel::Panics } else { Kernel::Runs };
    expect("resets until a slot comes up", world.boot(panics)?, 3)?;
    expect("the agent", world.agent()?, 0)?;
    expect("the release that runs", world.running()?, "2".to_owned())?;
    println!("{}", world.told(&["history"])?);
    println!("done in {:.1} s; `cargo xtask demo` boots it", started.elapsed().as_secs_f64());
    Ok(())
}

fn step(number: &str, text: &str) {
    println!("\n[{number}] {text}");
}

fn runs(_: &str) -> Kernel {
    Kernel::Runs
}

/// Polls, installs, reboots, is tried, confirms.
fn update(world: &mut World, release: &str) -> Result<(), Failure> {
    expect("the agent", world.agent()?, REBOOT)?;
    world.boot(runs)?;
    expect("the agent on its trial", world.agent()?, 0)?;
    expect("the release that runs", world.running()?, release.to_owned())
}
