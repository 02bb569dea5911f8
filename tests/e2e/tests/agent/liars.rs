//! A server that lies between the stage and the reboot.

use std::time::{Duration, Instant};

use partition_layout::{SlotLetter, SlotState};
use seesaw_e2e::command::Failure;
use seesaw_e2e::image_file::{REBOOT, World};
use seesaw_e2e::liar::{Liar, Lie};
use serde_json::{Value, json};

/// A device that asks a liar, and a release 2 that it would take.
fn device() -> Result<(World, Liar), Failure> {
    let world = World::new()?;
    let liar = Liar::before(world.server.url())?;
    world.ask_at(liar.url())?;
    Ok((world, liar))
}

fn timestamp(world: &World) -> Result<Vec<u8>, Failure> {
    Ok(std::fs::read(world.path("state/metadata/timestamp.json"))?)
}

/// What became of it is told by its own exit status: a server that lies was reached.
#[test]
fn a_stage_whose_grant_cannot_be_asked_again_activates_nothing() -> Result<(), Failure> {
    let (world, liar) = device()?;
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    let old = timestamp(&world)?;
    world.publish(2)?;
    for (lie, exit, name) in [
        (Lie::Forged, 9, "verification"),
        (Lie::Bytes(old), 7, "stale"),
        (Lie::Status(503), 8, "network"),
        (Lie::Silence, 8, "network"),
    ] {
        liar.lie_after(1, "timestamp.json", lie);
        let (code, ended) = world.updatectl(&["update"])?;
        assert_eq!((code, ended["exit"].as_str()), (exit, Some(name)), "{ended}");
        assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Empty);
        liar.repent();
    }
    let (code, updated) = world.updatectl(&["update"])?;
    assert_eq!((code, updated["exit"].as_str()), (4, Some("updated")), "{updated}");
    Ok(())
}

/// As with STATE wiped between the stage and the reboot: a crash would boot what nobody vouches for.
#[test]
fn an_activation_that_nothing_is_remembered_of_needs_a_word_now() -> Result<(), Failure> {
    let (mut world, _) = device()?;
    world.ask_at(world.server.url())?;
    world.publish(2)?;
    assert_eq!(world.updatectl(&["update"])?.0, 4);
    std::fs::remove_dir_all(world.path("state"))?;
    world.server.stop();
    let (code, log) = world.agent_once()?;
    assert_eq!(code, 0, "no reboot: {log}");
    assert!(log.contains("stale since "), "{log}");
    assert!(log.contains("no signed metadata is remembered here"), "{log}");
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Empty);

    world.server.start_again()?;
    world.ask_at(world.server.url())?;
    assert_eq!(world.agent()?, REBOOT, "offered again, it is taken");
    Ok(())
}

/// `--once` tries the reboot once: who started it hears of it, and may come again.
#[test]
fn a_reboot_without_a_fresh_grant_is_tried_once() -> Result<(), Failure> {
    let (world, liar) = device()?;
    world.publish(2)?;
    assert_eq!(world.updatectl(&["update"])?.0, 4);
    liar.lie("timestamp.json", Lie::Status(503));
    assert_eq!(world.agent()?, 0);
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Trial);
    liar.repent();
    assert_eq!(world.agent()?, REBOOT);
    Ok(())
}

/// What the running daemon says of the pending reboot, once it has asked again.
fn daemons_verdict(world: &World, verdict: &str) -> Result<Value, Failure> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (_, status) = world.ask_daemon(&["status"])?;
        let outcome = &status["agent"]["outcome"];
        if outcome["verdict"] == verdict || Instant::now() > until {
            assert_eq!(outcome["verdict"], verdict, "{status}");
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A crash would boot what is activated: it stays so while somebody's word for it counts.
#[test]
fn an_activation_outlives_lies_and_no_metadata() -> Result<(), Failure> {
    let (world, liar) = device()?;
    let manual = "[reboot]\nstrategy = \"manual\"\n[updates]\npoll_seconds = 1\n";
    std::fs::write(world.path("config/20-manual.toml"), manual)?;
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    let old = timestamp(&world)?;
    world.publish(2)?;
    assert_eq!(world.updatectl(&["update"])?.0, 4);
    let _daemon = world.daemon()?;
    for (lie, verdict) in
        [(Lie::Forged, "verification"), (Lie::Bytes(old), "stale"), (Lie::Status(503), "network")]
    {
        liar.repent();
        liar.lie("timestamp.json", lie);
        let status = daemons_verdict(&world, verdict)?;
        assert_eq!(status["next"], "B", "it waits for the truth: {status}");
    }
    // As if two days had passed.
    let file = world.path("state/metadata/freshness.json");
    let mut known: Value = serde_json::from_slice(&std::fs::read(&file)?).unwrap();
    known["fresh_until"] = json!("2026-11-02T00:00:00Z");
    std::fs::write(file, known.to_string())?;
    let status = daemons_verdict(&world, "stale")?;
    assert_eq!((&status["next"], &status["agent"]["phase"]["name"]), (&json!("A"), &json!("idle")));
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Empty);
    Ok(())
}
