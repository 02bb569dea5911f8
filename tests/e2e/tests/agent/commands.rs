use seesaw_e2e::command::{Failure, output};
use seesaw_e2e::image_file::World;
use serde_json::{Value, json};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The shape that other programs rely on.
#[test]
fn status_of_an_image_file() -> Result<(), Failure> {
    let world = World::new()?;
    let (code, status) = world.bare_updatectl(&["status"])?;
    assert_eq!(code, 0);
    assert_eq!(keys(&status), ["booted", "next", "slots", "source"]);
    assert_eq!(status["source"], world.path("disk").display().to_string());
    assert_eq!((&status["booted"], &status["next"]), (&json!(null), &json!("A")));
    let slots = status["slots"].as_array().unwrap();
    assert_eq!(slots.len(), 2);
    let names =
        ["entry", "partuuid", "priority", "release", "slot", "state", "successful", "tries"];
    assert_eq!(keys(&slots[0]), names);
    assert_eq!((&slots[0]["slot"], &slots[0]["state"]), (&json!("A"), &json!("confirmed")));
    assert_eq!((&slots[0]["release"], &slots[0]["entry"]), (&json!("1"), &json!(2)));
    assert_eq!((&slots[1]["state"], &slots[1]["release"]), (&json!("empty"), &json!(null)));
    assert_eq!(slots[0]["partuuid"].as_str().unwrap().len(), 36);
    Ok(())
}

/// What is said beside the result.
fn cautions(world: &World, args: &[&str]) -> Result<String, Failure> {
    let told = world.judged(|| output(&mut world.line(args)))?;
    Ok(String::from_utf8_lossy(&told.stderr).into_owned())
}

#[test]
fn a_command_that_does_not_fit_is_refused_and_says_why() -> Result<(), Failure> {
    let world = World::new()?;
    for (args, code, word) in [
        (&["rollback"][..], 12, "nothing_to_roll_back_to"),
        (&["cancel"], 12, "nothing_to_cancel"),
        (&["confirm"], 0, "nothing_to_confirm"),
    ] {
        let (exit, answer) = world.bare_updatectl(args)?;
        assert_eq!((exit, answer["answer"]["refusal"].as_str()), (code, Some(word)), "{answer}");
        assert_eq!(cautions(&world, args)?, "", "nothing comes of it: {args:?}");
    }
    Ok(())
}

#[test]
fn an_activation_is_cancelled() -> Result<(), Failure> {
    let world = World::new()?;
    world.publish(2)?;
    assert_eq!(world.updatectl(&["update"])?.0, 4);
    assert_eq!(world.updatectl(&["update"])?.0, 5, "pending already");
    assert_eq!(world.updatectl(&["status"])?.0, 5);
    let (code, unsaid) = world.judged(|| world.bare_updatectl(&["cancel"]))?;
    assert_eq!(code, 2, "B was never booted, and nothing says that it was: {unsaid}");
    let (code, cancelled) = world.updatectl(&["cancel"])?;
    assert_eq!((code, cancelled["next"].as_str()), (0, Some("A")), "{cancelled}");
    assert_eq!(world.updatectl(&["update"])?.0, 4, "nothing is lost");
    assert!(cautions(&world, &["cancel"])?.contains("becomes unbootable"));
    Ok(())
}

#[test]
fn a_check_hears_that_what_is_activated_was_taken_back() -> Result<(), Failure> {
    let world = World::new()?;
    world.publish(2)?;
    assert_eq!(world.updatectl(&["update"])?.0, 4);
    assert_eq!(world.updatectl(&["check"])?.0, 5, "it stands");
    world.server.operate(&["channel", "pause", seesaw_e2e::COMPATIBLE, "stable"])?;
    let (code, checked) = world.updatectl(&["check"])?;
    assert_eq!((code, checked["next"].as_str()), (6, Some("A")), "{checked}");
    assert_eq!(checked["outcome"]["verdict"], "withdrawn", "{checked}");
    Ok(())
}

#[test]
fn a_server_that_is_gone_is_not_up_to_date() -> Result<(), Failure> {
    let mut world = World::new()?;
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    world.server.stop();
    let (code, checked) = world.updatectl(&["check"])?;
    assert_eq!((code, checked["exit"].as_str()), (8, Some("network")), "{checked}");
    let (_, log) = world.agent_once()?;
    assert!(log.contains("checking -> idle: not known, the server was not reached"), "{log}");
    assert!(!log.contains('\x1b'), "it is no terminal: {log:?}");
    Ok(())
}

#[test]
fn what_has_expired_is_stale_and_says_since_when() -> Result<(), Failure> {
    let mut world = World::new()?;
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    let file = world.path("state/metadata/freshness.json");
    let mut known: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    known["fresh_until"] = json!("2026-11-02T00:00:00Z");
    std::fs::write(file, known.to_string()).unwrap();
    world.server.stop();
    let (code, checked) = world.updatectl(&["check"])?;
    assert_eq!((code, checked["exit"].as_str()), (7, Some("stale")), "{checked}");
    assert_eq!(checked["outcome"]["since"], "2026-11-02T00:00:00Z");
    Ok(())
}

/// By what it is shown; nothing else tells it how old that is.
#[test]
fn what_has_expired_is_stale_to_a_device_that_lost_its_state() -> Result<(), Failure> {
    let mut world = World::new()?;
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    let known = std::fs::read(world.path("state/metadata/freshness.json")).unwrap();
    let known: Value = serde_json::from_slice(&known).unwrap();
    let until = known["fresh_until"].as_str().unwrap();
    world.clock = Some("+3d".to_owned());
    std::fs::remove_dir_all(world.path("state")).unwrap();
    let (code, checked) = world.updatectl(&["check"])?;
    assert_eq!((code, checked["exit"].as_str()), (7, Some("stale")), "{checked}");
    assert_eq!(checked["outcome"]["since"], until, "{checked}");
    std::fs::remove_dir_all(world.path("state")).unwrap();
    let told = world.told(&["check"])?;
    assert!(told.contains(&format!("stale since {until}")), "{told}");
    Ok(())
}

#[test]
fn releases_are_listed_from_what_was_verified() -> Result<(), Failure> {
    let world = World::new()?;
    let (code, nothing) = world.updatectl(&["list"])?;
    assert_eq!(code, 1, "{nothing}");
    assert!(nothing.to_string().contains("run `updatectl check` first"), "{nothing}");
    world.publish(2)?;
    assert_eq!(world.updatectl(&["check"])?.0, 3);
    let (code, list) = world.updatectl(&["list"])?;
    assert_eq!(code, 0);
    let releases: Vec<&str> =
        list.as_array().unwrap().iter().map(|r| r["release"].as_str().unwrap()).collect();
    assert_eq!(releases, ["2", "1"]);
    assert_eq!((&list[1]["booted"], &list[1]["slots"]), (&json!(true), &json!(["A"])));
    Ok(())
}

#[test]
fn status_says_where_the_configuration_is_wrong() -> Result<(), Failure> {
    let world = World::new()?;
    std::fs::write(world.path("config/20-typo.toml"), "[srever]\n").unwrap();
    assert!(cautions(&world, &["status"])?.contains("20-typo.toml"), "before its first journal");
    assert_eq!(world.updatectl(&["check"])?.0, 1);
    let told = world.told(&["status"])?;
    let wrong = told.lines().find(|line| line.starts_with("wrong")).unwrap_or_default();
    assert!(wrong.contains("20-typo.toml"), "{told}");
    Ok(())
}

#[test]
fn what_is_only_remembered_needs_a_memory_and_names_what_is_known() -> Result<(), Failure> {
    let world = World::new()?;
    for args in [&["pin"][..], &["unpin"], &["channel", "stable"], &["channel", "--reset"]] {
        let (code, refused) = world.bare_updatectl(args)?;
        assert_eq!((code, refused["exit"].as_str()), (2, Some("usage")), "{refused}");
    }
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    for (args, doubt) in [
        (&["pin", "77"][..], "names no release 77"),
        (&["pin", "1"], ""),
        (&["channel", "nosuch"], "signed for nosuch"),
        (&["channel", "stable"], ""),
    ] {
        let told = cautions(&world, args)?;
        assert!(told.contains(doubt) && told.is_empty() == doubt.is_empty(), "{args:?}: {told}");
    }
    Ok(())
}

#[test]
fn updatectl_speaks_to_the_daemon_and_ends_it_orderly() -> Result<(), Failure> {
    let world = World::new()?;
    std::fs::write(world.path("config/20-manual.toml"), "[reboot]\nstrategy = \"manual\"\n")
        .unwrap();
    let mut daemon = world.daemon()?;
    assert_eq!(world.updatectl(&["check"])?.0, 11, "the daemon has the lock");
    world.publish(2)?;
    // The second joins the first, or comes when it is done; so does either with the daemon's poll.
    let updates = std::thread::scope(|scope| {
        let update = || world.ask_daemon(&["update"]).unwrap();
        [scope.spawn(update), scope.spawn(update)].map(|update| update.join().unwrap())
    });
    for (code, updated) in updates {
        assert!(matches!(code, 4 | 5), "{updated}");
        assert_eq!(updated["next"], "B", "{updated}");
    }
    let (_, status) = world.ask_daemon(&["status"])?;
    assert_eq!(status["booted"], "A");
    assert!(status["agent"]["phase"]["name"].is_string(), "{status}");
    let (code, pinned) = world.ask_daemon(&["pin"])?;
    assert_eq!((code, pinned["exit"].as_str()), (0, Some("done")));

    let end = std::process::Command::new("kill").arg(daemon.id().to_string()).status().unwrap();
    assert!(end.success());
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    let (_, status) = world.updatectl(&["status"])?;
    assert_eq!(status["agent"]["memory"]["pinned"], "1", "{status}");
    Ok(())
}
