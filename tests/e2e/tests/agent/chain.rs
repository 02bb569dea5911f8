use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use partition_layout::{SlotLetter, SlotState};
use seesaw_e2e::command::Failure;
use seesaw_e2e::image_file::{Health, Kernel, REBOOT, World};

use crate::links::allow;

fn runs(_: &str) -> Kernel {
    Kernel::Runs
}

/// Polls, installs, reboots, is tried, confirms.
pub fn update(world: &mut World) -> Result<(), Failure> {
    assert_eq!(world.agent()?, REBOOT);
    world.boot(runs)?;
    assert_eq!(world.agent()?, 0);
    Ok(())
}

#[test]
fn there_and_back_and_there_again() -> Result<(), Failure> {
    let mut world = World::new()?;
    assert_eq!(world.agent()?, 0, "up to date");

    world.publish(2)?;
    update(&mut world)?;
    assert_eq!((world.booted, world.running()?.as_str()), (SlotLetter::B, "2"));
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Confirmed);
    assert_eq!(world.slot(SlotLetter::A)?.attributes.state(), SlotState::Confirmed);

    let (code, rolled) = world.updatectl(&["rollback"])?;
    assert_eq!((code, rolled["next"].as_str()), (5, Some("A")), "{rolled}");
    world.boot(runs)?;
    assert_eq!(world.agent()?, 0, "v2 is held");
    assert_eq!(world.running()?, "1");

    let (code, checked) = world.updatectl(&["check"])?;
    assert_eq!((code, checked["exit"].as_str()), (6, Some("held")), "{checked}");
    let (code, updated) = world.updatectl(&["update"])?;
    assert_eq!((code, updated["exit"].as_str()), (4, Some("updated")), "{updated}");
    world.boot(runs)?;
    assert_eq!(world.agent()?, 0);
    assert_eq!(world.running()?, "2");
    let history = world.told(&["history"])?;
    assert_eq!(history.matches("download_started").count(), 1, "no second download: {history}");
    Ok(())
}

/// Payload and metadata bytes that the server has sent so far.
pub fn bytes_served(world: &World) -> Result<u64, Failure> {
    metric(world, "seesaw_bytes_served_total")
}

/// A number that the server tells of itself.
pub fn metric(world: &World, name: &str) -> Result<u64, Failure> {
    let address = world.server.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.and_then(|number| number.parse().ok()).expect("a number"))
}

/// Half of each root is the same, in one segment with what is new.
#[test]
fn a_delta_that_was_published_brings_the_release_in_fewer_bytes() -> Result<(), Failure> {
    const MIB: u64 = 1 << 20;
    let mut bytes = Vec::new();
    for (delta, save) in [(false, "bytes"), (true, "bytes"), (true, "time")] {
        let mut world = World::new()?;
        let (one, two) = (world.build(1)?, world.build(2)?);
        if delta {
            world.publisher.delta(&one, &two)?;
        }
        allow(&world, &format!("save = \"{save}\""))?;
        world.publish(2)?;
        let before = bytes_served(&world)?;
        update(&mut world)?;
        assert_eq!(world.running()?, "2");
        bytes.push(bytes_served(&world)? - before);
    }
    assert!(bytes[0] > 2 * MIB && bytes[1] < 3 * MIB / 2, "{bytes:?} bytes");
    // Where time is dearer the delta is left alone.
    assert_eq!(bytes[2] / MIB, bytes[0] / MIB, "{bytes:?} bytes");
    Ok(())
}

#[test]
fn a_pin_holds_against_the_channel_until_it_is_let_go() -> Result<(), Failure> {
    let mut world = World::new()?;
    assert_eq!(world.updatectl(&["pin"])?.0, 0);
    world.publish(2)?;
    assert_eq!(world.agent()?, 0);
    assert_eq!(world.running()?, "1");
    assert_eq!(world.updatectl(&["update"])?.0, 6);
    assert_eq!(world.updatectl(&["unpin"])?.0, 0);
    update(&mut world)?;
    assert_eq!(world.running()?, "2");
    Ok(())
}

#[test]
fn a_sick_release_returns_by_itself_and_does_not_come_again() -> Result<(), Failure> {
    let mut world = World::new()?;
    world.publish(3)?;
    assert_eq!(world.agent()?, REBOOT);
    world.boot(runs)?;
    assert_eq!(world.running()?, "3");
    world.turn(Health::Sick)?;
    assert_eq!(world.agent()?, REBOOT, "the trial ends itself");
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Failed);

    world.turn(Health::Well)?;
    world.boot(runs)?;
    assert_eq!(world.running()?, "1");
    assert_eq!(world.agent()?, 0, "fell back, checked, and left it");
    let (code, checked) = world.updatectl(&["update"])?;
    assert_eq!(code, 6, "{checked}");
    assert!(world.told(&["status"])?.contains("release 3 failed: demo: "), "{checked}");
    let server = world.server.operate(&["device", "list"])?.to_string();
    assert!(server.contains("fallback"), "{server}");

    // Also with STATE gone: the slot's bits and its kernel remember.
    std::fs::remove_dir_all(world.path("state"))?;
    assert_eq!(world.agent()?, 0);
    assert_eq!(world.updatectl(&["update"])?.0, 6);

    world.publish(4)?;
    update(&mut world)?;
    assert_eq!(world.running()?, "4");
    Ok(())
}

#[test]
fn a_kernel_that_panics_is_left_when_its_tries_are_used_up() -> Result<(), Failure> {
    let mut world = World::new()?;
    world.publish(4)?;
    assert_eq!(world.agent()?, REBOOT);
    assert_eq!(world.slot(SlotLetter::B)?.attributes.tries().get(), 3);
    world.boot(|release| if release == "4" { Kernel::Panics } else { Kernel::Runs })?;
    assert_eq!(world.running()?, "1");
    assert_eq!(world.agent()?, 0);
    let told = world.told(&["status"])?;
    assert!(told.contains("release 4 failed: every try was used up"), "{told}");
    Ok(())
}

#[test]
fn a_bundle_is_installed_without_a_server() -> Result<(), Failure> {
    let mut world = World::new()?;
    let release = world.build(2)?;
    world.publisher.sign(&release)?;
    let bundle = release.display().to_string();
    world.server.stop();
    let (code, installed) = world.updatectl(&["install", &bundle])?;
    assert_eq!((code, installed["exit"].as_str()), (4, Some("updated")), "{installed}");
    world.boot(runs)?;
    assert_eq!(world.running()?, "2");
    // The server is part of health, and it is gone: back, and not the release's fault.
    assert_eq!(world.agent()?, REBOOT);
    world.boot(runs)?;
    assert_eq!(world.agent()?, 0);
    let (_, status) = world.updatectl(&["status"])?;
    assert_eq!(status["agent"]["memory"]["failed"], serde_json::json!([]), "{status}");
    assert_eq!(status["agent"]["memory"]["excused"][0]["release"], "2", "{status}");
    Ok(())
}
