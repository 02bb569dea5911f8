//! Releases, bundles and tables that are not as they should be: exit status, words, and what
//! becomes of the slots.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use partition_layout::{SlotLetter, SlotState};
use payload_tools::testing::{osrel, uki};
use seesaw_e2e::COMPATIBLE;
use seesaw_e2e::command::Failure;
use seesaw_e2e::image_file::{Kernel, REBOOT, World};
use seesaw_e2e::liar::{Liar, Lie};

use crate::faults::said;

/// The first request for the bytes of an image, after those for its tree and seek table.
const FIRST_BYTES: &str = "full HTTP/1.1 range: bytes=0-";

fn device() -> Result<(World, Liar), Failure> {
    let world = World::new()?;
    let liar = Liar::before(world.server.url())?;
    world.ask_at(liar.url())?;
    std::fs::write(world.path("config/20-timeout.toml"), "[server]\ntimeout_seconds = 1\n")?;
    world.publish(2)?;
    Ok((world, liar))
}

fn target_is_empty(world: &World) -> Result<(), Failure> {
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Empty);
    Ok(())
}

#[test]
fn a_payload_that_is_cut_or_falls_silent_for_once_goes_on_where_it_was() -> Result<(), Failure> {
    for lie in [Lie::Cut, Lie::Stall] {
        let (world, liar) = device()?;
        liar.lie(FIRST_BYTES, lie);
        assert!(said(&world, &["update"])?.starts_with("4 release 2 is activated"));
    }
    Ok(())
}

#[test]
fn a_server_that_is_silent_in_the_midst_of_a_payload_is_given_up() -> Result<(), Failure> {
    let (world, liar) = device()?;
    liar.lie(FIRST_BYTES, Lie::Silence);
    let told = said(&world, &["update"])?;
    assert!(told.starts_with("8 not known, the server was not reached: "), "{told}");
    let words = "sends next to nothing, after 6 attempts; check the network and the server";
    assert!(told.contains(words), "{told}");
    target_is_empty(&world)?;
    liar.repent();
    assert!(said(&world, &["update"])?.starts_with("4 "), "and gone on from");
    Ok(())
}

#[test]
fn an_older_release_is_not_taken_on_a_servers_word() -> Result<(), Failure> {
    let (mut world, liar) = device()?;
    world.publish(3)?;
    assert_eq!(world.agent()?, REBOOT);
    world.boot(|_| Kernel::Runs)?;
    assert_eq!((world.agent()?, world.running()?.as_str()), (0, "3"));
    let offer = serde_json::json!({ "action": "update", "release": "2", "counter": 2,
        "reason": "channel", "channel": "stable", "detail": "stable is at 2" });
    liar.lie("v1/check", Lie::Bytes(offer.to_string().into_bytes()));
    insta::assert_snapshot!(said(&world, &["update"])?, @"6 release 2 is not taken: release 2 (counter 2) is older than what this device has reached (counter 3) and its signed downgrade range does not cover it; have the range signed, or roll back to the other slot");
    let (release, bundle) = (world.build(2)?, world.path("bundle").display().to_string());
    world.publisher.sign(&release)?;
    world.publisher.bundle(&release, &world.path("bundle"))?;
    let told = said(&world, &["install", &bundle])?;
    let words = "6 release 2 is not taken: release 2 (counter 2) is older than";
    assert!(told.starts_with(words), "{told}");
    assert_eq!(world.slot(SlotLetter::A)?.attributes.state(), SlotState::Confirmed);
    Ok(())
}

/// A kernel with so many bytes in it, and a root; built for devices of this kind.
fn build(world: &World, compatible: &str, kernel_len: usize) -> Result<PathBuf, Failure> {
    let text = osrel(compatible, "2", 2);
    let body = vec![7; kernel_len];
    let sections: [(&str, &[u8]); 3] =
        [(".osrel", text.as_bytes()), (".cmdline", b"panic=10"), (".linux", &body)];
    let [kernel, root, out] = ["k", "r", "out"].map(|name| world.path(name));
    std::fs::write(&kernel, uki(&sections))?;
    std::fs::write(&root, vec![9; 1 << 20])?;
    match compatible {
        COMPATIBLE => world.publisher.build(2, &kernel, &root, &out)?,
        other => world.publisher.build_for_others(other, 2, [&kernel, &root], &out)?,
    }
    Ok(out)
}

#[test]
fn a_kernel_that_is_larger_than_its_partition_is_named() -> Result<(), Failure> {
    let world = World::new()?;
    let release = build(&world, COMPATIBLE, 9 << 20)?;
    world.publisher.publish(&release, "stable", &world.server)?;
    insta::assert_snapshot!(said(&world, &["update"])?, @"1 failed: the release does not fit the slot: an image of 9441280 bytes does not fit KERNEL-B, which has 8388608");
    target_is_empty(&world)
}

#[test]
fn a_bundle_for_devices_of_another_kind_is_refused() -> Result<(), Failure> {
    let world = World::new()?;
    world.publisher.add_compatible("other-board")?;
    world.publish(2)?;
    let release = build(&world, "other-board", 1 << 20)?;
    world.publisher.sign(&release)?;
    insta::assert_snapshot!(said(&world, &["install", &release.display().to_string()])?, @"6 not taken: the bundle is for other-board and this device is demo-x86_64: bring one that is for it");
    target_is_empty(&world)
}

#[test]
fn a_bundle_that_is_cut_or_changed_is_refused() -> Result<(), Failure> {
    let world = World::new()?;
    let (release, bundle) = (world.build(2)?, world.path("bundle"));
    world.publisher.sign(&release)?;
    world.publisher.bundle(&release, &bundle)?;
    let whole = std::fs::read(&bundle)?;
    let refused = |bytes: &[u8]| -> Result<String, Failure> {
        std::fs::write(&bundle, bytes)?;
        let told = said(&world, &["install", &bundle.display().to_string()])?;
        target_is_empty(&world)?;
        Ok(told)
    };
    insta::assert_snapshot!(refused(&whole[..whole.len() / 2])?, @"9 refused: cannot read the bundle's metadata: bundle is not a bundle: file images/#/full ends after the archive: it was cut off");
    let told = refused(b"<html>please log in</html>")?;
    let words = "9 refused: cannot read the bundle's metadata: bundle is not a bundle: ";
    assert!(told.starts_with(words), "{told}");
    // In the midst of what is the last image.
    let mut changed = whole.clone();
    changed[whole.len() - (1 << 20)] ^= 1;
    let told = refused(&changed)?;
    assert!(told.starts_with("9 refused: ") && told.contains("of the IMAGE"), "{told}");
    std::fs::write(&bundle, &whole)?;
    assert!(said(&world, &["install", &bundle.display().to_string()])?.starts_with("4 "));
    Ok(())
}

const LBA: u64 = 512;
const SIZE: u64 = 120 << 20;
/// The backup's entries and header.
const BACKUP: std::ops::Range<u64> = SIZE - 33 * LBA..SIZE;

type Damage = fn(&std::fs::File) -> std::io::Result<()>;

/// What can be mended is mended before anything is written; what cannot is named.
#[test]
fn a_table_with_one_good_copy_is_mended_and_an_update_taken() -> Result<(), Failure> {
    let damages: [(&str, Damage); 4] = [
        ("primary", |disk| disk.write_all_at(&[0xA5; 8], LBA + 20)),
        ("backup", |disk| disk.write_all_at(&[0xA5; 8], SIZE - LBA + 20)),
        ("backup's entries", |disk| disk.write_all_at(&[0xA5; 512], BACKUP.start)),
        ("backup that is not at the end", |disk| disk.set_len(SIZE + (8 << 20))),
    ];
    for (what, damage) in damages {
        let world = World::new()?;
        world.publish(2)?;
        damage(&std::fs::OpenOptions::new().write(true).open(world.path("disk"))?)?;
        let (code, updated) = world.updatectl(&["update"])?;
        assert_eq!((code, updated["next"].as_str()), (4, Some("B")), "{what}: {updated}");
    }
    Ok(())
}

#[test]
fn an_older_backup_is_brought_up_to_date() -> Result<(), Failure> {
    let world = World::new()?;
    world.publish(2)?;
    let disk = std::fs::OpenOptions::new().read(true).write(true).open(world.path("disk"))?;
    assert_eq!(world.updatectl(&["update"])?.0, 4);
    let mut older = vec![0; usize::try_from(BACKUP.end - BACKUP.start).unwrap_or(0)];
    disk.read_exact_at(&mut older, BACKUP.start)?;
    let written = older.clone();
    assert_eq!(world.updatectl(&["cancel"])?.0, 0);
    disk.write_all_at(&older, BACKUP.start)?;
    assert_eq!(world.bare_updatectl(&["status"])?.1["next"], "A", "the primary is the newer one");
    world.server.operate(&["channel", "pause", COMPATIBLE, "stable"])?;
    assert_eq!(world.agent()?, 0);
    disk.read_exact_at(&mut older, BACKUP.start)?;
    assert!(older != written, "the backup still says that B starts next");
    Ok(())
}

#[test]
fn a_disk_without_a_protective_mbr_is_not_written() -> Result<(), Failure> {
    let world = World::new()?;
    world.publish(2)?;
    let disk = std::fs::OpenOptions::new().write(true).open(world.path("disk"))?;
    disk.write_all_at(&[0; 512], 0)?;
    let before = std::fs::read(world.path("disk"))?;
    insta::assert_snapshot!(said(&world, &["update"])?, @"1 failed: the disk is not fit for an update: the disk has no valid protective MBR: write one with `sgdisk -e DISK`");
    assert!(std::fs::read(world.path("disk"))? == before);
    Ok(())
}
