//! What goes wrong, one by one: exit status and words of `updatectl`, and a booted slot that is
//! what it was.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use partition_layout::{SlotLetter, SlotState};
use payload_tools::testing::{osrel, uki};
use seesaw_e2e::COMPATIBLE;
use seesaw_e2e::command::{Failure, output};
use seesaw_e2e::image_file::{Kernel, REBOOT, World};
use seesaw_e2e::liar::{Liar, Lie};
use seesaw_e2e::words;

/// Exit status and what is said, without what differs from run to run.
pub(crate) fn said(world: &World, args: &[&str]) -> Result<String, Failure> {
    let before = world.fingerprint(world.booted).ok();
    let mut line = world.line(args);
    let output = output(line.env("RUST_LOG", "off"))?;
    assert_eq!(world.fingerprint(world.booted).ok(), before, "{args:?} wrote the booted slot");
    Ok(words::of_updatectl(&output, &world.path("")))
}

fn overwrite(world: &World, ranges: &[(u64, usize)]) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().write(true).open(world.path("disk"))?;
    for (offset, len) in ranges {
        file.write_all_at(&vec![0xA5; *len], *offset)?;
    }
    Ok(())
}

#[test]
fn a_disk_without_a_valid_table_is_told_and_not_written() -> Result<(), Failure> {
    const END: u64 = 120 << 20;
    let headers = [(512 + 20, 8), (END - 512 + 20, 8)];
    let everything = [(0, 34 * 512), (END - 33 * 512, 33 * 512)];
    for damage in [headers, everything] {
        let world = World::new()?;
        overwrite(&world, &damage)?;
        let before = std::fs::read(world.path("disk"))?;
        for args in [&["status"][..], &["update"], &["rollback"], &["confirm"], &["cancel"]] {
            let told = said(&world, args)?;
            assert!(told.starts_with("1 updatectl: disk holds no slots: "), "{told}");
            assert!(told.contains("restore one before this disk is started again"), "{told}");
        }
        assert!(std::fs::read(world.path("disk"))? == before);
        if damage == headers {
            insta::assert_snapshot!(said(&world, &["status"])?, @"1 updatectl: disk holds no slots: cannot read the partition table: no valid partition table: restore one before this disk is started again (primary: header checksum is #, the header says #; backup: header checksum is #, the header says #)");
        }
    }
    Ok(())
}

/// A release whose root file system is larger than the slot.
fn large(world: &World, counter: u64) -> Result<PathBuf, Failure> {
    let text = osrel(COMPATIBLE, &counter.to_string(), counter);
    let kernel = uki(&[(".osrel", text.as_bytes()), (".cmdline", b"panic=10")]);
    let [kernel_path, root_path, out] =
        ["large-kernel", "large-root", "large"].map(|name| world.path(name));
    std::fs::write(&kernel_path, kernel)?;
    std::fs::write(&root_path, vec![7; 20 << 20])?;
    world.publisher.build(counter, &kernel_path, &root_path, &out)?;
    Ok(out)
}

/// What a device does, from here on, with a release that it cannot get: nothing to the slot that
/// runs, and nothing that could start to the other.
fn refused(world: &World, liar: &Liar, about: &str, lie: Lie) -> Result<String, Failure> {
    liar.lie(about, lie);
    let told = said(world, &["update"])?;
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Empty, "{told}");
    liar.repent();
    Ok(told)
}

#[test]
fn metadata_that_is_not_had_or_not_right_is_told_apart() -> Result<(), Failure> {
    let world = World::new()?;
    let liar = Liar::before(world.server.url())?;
    world.ask_at(liar.url())?;
    world.publish(2)?;
    let told = |about: &str, lie| refused(&world, &liar, about, lie);
    insta::assert_snapshot!(told("timestamp.json", Lie::Status(404))?, @"8 not known, the server was not reached: the metadata does not verify: timestamp metadata is missing: there is no timestamp.json; try another server, or publish it there");
    insta::assert_snapshot!(told("timestamp.json", Lie::Status(500))?, @"8 not known, the server was not reached: cannot refresh the metadata: http://127.0.0.1:#/v1/metadata/timestamp.json answers 500 Internal Server Error");
    insta::assert_snapshot!(told("timestamp.json", Lie::Page)?, @"8 not known, the server was not reached: cannot refresh the metadata: http://127.0.0.1:#/v1/metadata/timestamp.json answers with a web page; a captive portal or a proxy is in the way");
    insta::assert_snapshot!(told("timestamp.json", Lie::Silence)?, @"8 not known, the server was not reached: cannot refresh the metadata: cannot reach http://127.0.0.1:#/v1/metadata/timestamp.json: error sending request: operation timed out");
    insta::assert_snapshot!(told("timestamp.json", Lie::Forged)?, @"9 refused: the metadata does not verify: timestamp version # is refused; have it signed by the keys that root or targets list for it: 0 of 1 needed keys have signed it (1 wrong, 0 unknown signatures)");
    insta::assert_snapshot!(told(".snapshot.json", Lie::Flipped)?, @"9 refused: the metadata does not verify: snapshot version 2 is refused; try another server: this one is stale or its files do not belong together: its length or hash is not the one that was signed");
    insta::assert_snapshot!(told(".demo-x86_64.json", Lie::Flipped)?, @"9 refused: the metadata does not verify: demo-x86_64 version 3 is refused; try another server: this one is stale or its files do not belong together: its length or hash is not the one that was signed");
    insta::assert_snapshot!(told("v1/check", Lie::Status(500))?, @"8 not known, the server was not reached: cannot ask the update server: http://127.0.0.1:#/v1/check answers 500 Internal Server Error");
    insta::assert_snapshot!(told("v1/check", Lie::Page)?, @"8 not known, the server was not reached: cannot ask the update server: http://127.0.0.1:#/v1/check answers with a web page; a captive portal or a proxy is in the way");
    assert!(said(&world, &["update"])?.starts_with("4 "), "the truth is taken");
    Ok(())
}

#[test]
fn a_payload_that_is_not_had_or_not_right_is_told_apart() -> Result<(), Failure> {
    let world = World::new()?;
    let liar = Liar::before(world.server.url())?;
    world.ask_at(liar.url())?;
    world.publish(2)?;
    let told = |about: &str, lie| refused(&world, &liar, about, lie);
    insta::assert_snapshot!(told("v1/targets", Lie::Flipped)?, @"9 refused: the manifest is refused: the manifest demo-x86_64/2.json is refused; fetch it again from another server: its SHA-256 is not the signed #");
    insta::assert_snapshot!(told("v1/targets", Lie::Status(404))?, @"8 not known, the server was not reached: cannot ask the update server: http://127.0.0.1:#/v1/targets/demo-x86_64/#.2.json answers 404 Not Found");
    insta::assert_snapshot!(told("levels", Lie::Flipped)?, @"9 refused: the tree of the IMAGE is not the signed one; publish the release again: tree levels do not chain to the root #: hash block 0 differs");
    insta::assert_snapshot!(told("levels", Lie::Page)?, @"8 not known, the server was not reached: cannot get the tree or the seek table of the IMAGE: http://127.0.0.1:#/v1/images/#/levels has 26 bytes where 4096 were expected");
    insta::assert_snapshot!(told("full", Lie::Status(404))?, @"8 not known, the server was not reached: cannot get the tree or the seek table of the IMAGE: http://127.0.0.1:#/v1/images/#/full does not exist; the release's payload was not uploaded or was removed");
    // Whether zstd or the tree finds it depends on the frame's last byte, and so on the keys in the image.
    let flipped = told("full HTTP/1.1 range: bytes=0-", Lie::Flipped)?;
    assert!(flipped.starts_with("9 refused: "), "{flipped}");
    assert!(flipped.contains("segment 0 of the IMAGE (0 of 2363392 bytes done)"), "{flipped}");
    assert!(flipped.contains("also when fetched again"), "{flipped}");
    assert!(said(&world, &["update"])?.starts_with("4 "), "the truth is taken");
    Ok(())
}

#[test]
fn a_release_that_is_not_for_this_device_is_told_apart() -> Result<(), Failure> {
    let world = World::new()?;
    world.publisher.publish(&large(&world, 2)?, "stable", &world.server)?;
    insta::assert_snapshot!(said(&world, &["update"])?, @"1 failed: the release does not fit the slot: an image of # bytes does not fit ROOT-B, which has #");
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Empty);

    std::fs::write(world.path("config/20-channel.toml"), "[updates]\nchannel = \"nightly\"\n")?;
    insta::assert_snapshot!(said(&world, &["update"])?, @"14 no channel: demo-x86_64 has no channel nightly");

    insta::assert_snapshot!(said(&world, &["install", &world.path("nothing").display().to_string()])?, @"1 failed: cannot read the bundle's metadata: cannot read the release: failed to query resolved metadata `nothing`: No such file or directory (os error 2)");
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Empty);
    Ok(())
}

#[test]
fn a_trial_that_a_person_ends_is_a_failed_one() -> Result<(), Failure> {
    let mut world = World::new()?;
    world.publish(2)?;
    assert_eq!(world.agent()?, REBOOT);
    world.boot(|_| Kernel::Runs)?;
    insta::assert_snapshot!(said(&world, &["rollback"])?, @"13 release 2 failed (a person rolled back during the trial), rebooting | updatectl: reboot now to go on");
    world.boot(|_| Kernel::Runs)?;
    assert_eq!(world.running()?, "1");
    Ok(())
}

#[test]
fn of_two_updates_at_once_one_is_done() -> Result<(), Failure> {
    let world = World::new()?;
    world.publish(2)?;
    let mut codes = std::thread::scope(|scope| {
        let update = || said(&world, &["update"]).unwrap();
        let both = [scope.spawn(update), scope.spawn(update)];
        both.map(|update| update.join().unwrap())
    });
    codes.sort();
    // The other finds the device locked, or comes when all is done.
    assert!(codes[1].starts_with("4 "), "{codes:?}");
    assert!(codes[0].starts_with("11 ") || codes[0].starts_with("5 "), "{codes:?}");
    let history = world.told(&["history"])?;
    assert_eq!(history.matches("download_started").count(), 1, "{history}");
    Ok(())
}
