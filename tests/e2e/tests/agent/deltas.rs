//! Deltas that the server makes by itself for what its devices run.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use payload_tools::format::{Hash, Manifest, Role};
use seesaw_e2e::command::{Failure, succeed};
use seesaw_e2e::image_file::{REBOOT, World};

use crate::chain::{bytes_served, metric, update};

const MIB: u64 = 1 << 20;
/// A delta of these images is made in a second; a machine that has no time gets minutes.
const PATIENCE: Duration = Duration::from_secs(300);

fn until(what: &str, mut holds: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let begun = Instant::now();
    while !holds()? {
        assert!(begun.elapsed() < PATIENCE, "in vain waited until {what}");
        // What is waited for runs at the lowest priority: not beside a loop that never rests.
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A device that the server knows to run release 1, and release 2 for it.
fn begun() -> Result<World, Failure> {
    let world = World::served(&[])?;
    assert_eq!(world.agent()?, 0);
    world.publish(2)?;
    Ok(world)
}

/// The process that makes a delta, if there is one.
fn maker(world: &World) -> Option<String> {
    let server = world.server.pid().to_string();
    let numbers = std::fs::read_dir("/proc").ok()?.flatten();
    numbers.filter_map(|entry| entry.file_name().into_string().ok()).find(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2));
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        parent == Some(&server) && line.ends_with(b"--delta-maker\0")
    })
}

fn until_making(world: &World) -> Result<String, Failure> {
    let mut found = None;
    until("a delta is being made", || {
        found = maker(world);
        Ok(found.is_some())
    })?;
    Ok(found.unwrap_or_default())
}

/// Until nothing more is to be made; what there is then in the payload folder.
fn until_made(world: &World) -> Result<Vec<PathBuf>, Failure> {
    until("the deltas are made", || {
        let count = |state: &str| metric(world, &format!("seesaw_deltas{{state=\"{state}\"}}"));
        let unmade = count("waiting")? + count("making")? + count("failed")?;
        Ok(count("made")? > 0 && unmade == 0)
    })?;
    let images = world.path("server/payloads/images");
    let mut found = Vec::new();
    for image in std::fs::read_dir(images)? {
        let Ok(deltas) = std::fs::read_dir(image?.path().join("delta")) else { continue };
        found.extend(deltas.flatten().map(|delta| delta.path()));
    }
    found.retain(|path| path.extension().is_none());
    Ok(found)
}

#[test]
fn a_device_takes_the_delta_that_the_server_made_for_it() -> Result<(), Failure> {
    let mut world = begun()?;
    until_made(&world)?;
    let before = bytes_served(&world)?;
    update(&mut world)?;
    assert_eq!(world.running()?, "2");
    let bytes = bytes_served(&world)? - before;
    let saved = metric(&world, "seesaw_delta_bytes_saved_total")?;
    assert!(bytes < 3 * MIB / 2 && saved > MIB / 2, "{bytes} bytes, {saved} saved");
    Ok(())
}

#[test]
fn a_server_killed_while_it_makes_a_delta_makes_it_anew_and_loses_none() -> Result<(), Failure> {
    let mut world = begun()?;
    let orphan = until_making(&world)?;
    world.server.stop();
    let gone = format!("/proc/{orphan}");
    until("the process ends with the server", || Ok(!std::path::Path::new(&gone).exists()))?;

    world.server.start_again()?;
    let first = until_made(&world)?;
    let inodes = |paths: &[PathBuf]| -> Result<Vec<u64>, Failure> {
        paths.iter().map(|path| Ok(std::fs::metadata(path)?.ino())).collect()
    };
    let kept = inodes(&first)?;

    // A process that is killed alone is followed by another.
    world.publish(3)?;
    let victim = until_making(&world)?;
    succeed(Command::new("kill").args(["-KILL", &victim]))?;
    let second = until_made(&world)?;
    assert!(second.len() > first.len(), "{second:?}");

    world.server.stop();
    world.server.start_again()?;
    assert_eq!(until_made(&world)?.len(), second.len());
    assert_eq!(inodes(&first)?, kept, "what was made is not made again");
    assert!(!world.path("server/payloads/incoming").exists() || maker(&world).is_some());

    world.ask_at(world.server.url())?;
    let before = bytes_served(&world)?;
    update(&mut world)?;
    assert_eq!(world.running()?, "3");
    let bytes = bytes_served(&world)? - before;
    assert!(bytes < 3 * MIB / 2, "{bytes} bytes");
    Ok(())
}

#[test]
fn the_deltas_of_a_withdrawn_release_go() -> Result<(), Failure> {
    let world = begun()?;
    let made = until_made(&world)?;
    world.publish(3)?;
    until("those to 3 are made", || Ok(until_made(&world)?.len() > made.len()))?;
    world.publisher.withdraw("2", &world.server)?;
    until("those to 2 are gone", || Ok(made.iter().all(|path| !path.exists())))?;
    assert!(!until_made(&world)?.is_empty(), "those to 3 stay");
    Ok(())
}

/// Devices that exist only for the server ask what to do.
fn report(world: &World, devices: std::ops::Range<u32>, release: u64) -> Result<(), Failure> {
    let address = world.server.url().trim_start_matches("http://");
    for device in devices {
        let body = format!(
            "{{\"device\":\"{device:032x}\",\"compatible\":\"demo-x86_64\",\"slot\":\"A\",\
              \"release\":\"{release}\",\"counter\":{release}}}"
        );
        let mut stream = TcpStream::connect(address)?;
        let length = body.len();
        write!(
            stream,
            "POST /v1/check HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    Ok(())
}

/// Where the delta between the root images of two releases is, if it is there.
fn delta(world: &World, from: u64, to: u64) -> Result<PathBuf, Failure> {
    let root = |release| -> Result<Hash, Failure> {
        let manifest = std::fs::read(world.build(release)?.join("manifest.json"))?;
        let manifest = Manifest::parse(&manifest).expect("a manifest");
        Ok(manifest.image(Role::Root).expect("an image").root)
    };
    let (from, to) = (root(from)?, root(to)?);
    Ok(world.path(&format!("server/payloads/images/{to}/delta/{from}")))
}

/// A delta of these images has a little more than a MiB: there is room for one.
#[test]
fn the_least_wanted_go_when_there_is_no_room() -> Result<(), Failure> {
    let world = World::served(&["--delta-disk-mib", "2"])?;
    world.publish(2)?;
    report(&world, 0..3, 1)?;
    report(&world, 10..15, 2)?;
    world.publish(3)?;
    let settled = |unkept| -> Result<bool, Failure> {
        let count = |state: &str| metric(&world, &format!("seesaw_deltas{{state=\"{state}\"}}"));
        let unmade = count("waiting")? + count("making")? + count("failed")?;
        Ok(unmade == 0 && count("unkept")? == unkept && count("made")? > 0)
    };
    let (one, two) = (delta(&world, 1, 3)?, delta(&world, 2, 3)?);
    until("one is made and one has no room", || settled(1))?;
    assert!(two.exists() && !one.exists(), "five devices want it, three the other");
    assert!(metric(&world, "seesaw_deltas_kept_bytes")? <= 2 * MIB);
    // The fleet was not what it seemed.
    report(&world, 20..30, 1)?;
    until("the other one is made in its place", || Ok(one.exists() && settled(1)?))?;
    assert!(!two.exists(), "it made room");
    Ok(())
}

#[test]
fn a_server_without_memory_for_it_goes_on_and_says_so() -> Result<(), Failure> {
    let world = World::served(&["--delta-memory-mib", "16"])?;
    assert_eq!(world.agent()?, 0);
    world.publish(2)?;
    until("it has failed", || Ok(metric(&world, "seesaw_deltas{state=\"failed\"}")? > 0))?;
    assert_eq!(world.agent()?, REBOOT, "the device takes the full payload");
    let log = std::fs::read_to_string(world.path("server.log"))?;
    assert!(log.contains("a delta was not made"), "{log}");
    Ok(())
}
