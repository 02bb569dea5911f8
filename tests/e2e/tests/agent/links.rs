//! Links that are metered or slow, and what a release costs on them.

use std::time::{Duration, Instant};

use partition_layout::{SlotLetter, SlotState};
use seesaw_e2e::command::Failure;
use seesaw_e2e::image_file::World;
use serde_json::Value;

use crate::faults::said;

pub fn allow(world: &World, text: &str) -> Result<(), Failure> {
    Ok(std::fs::write(world.path("config/20-link.toml"), format!("[download]\n{text}\n"))?)
}

fn remember(world: &World, since: &str, bytes: u64) -> Result<(), Failure> {
    let spent = format!(r#"{{"since":"{since}","bytes":{bytes},"too_small":null}}"#);
    std::fs::create_dir_all(world.path("state"))?;
    Ok(std::fs::write(world.path("state/downloads.json"), spent)?)
}

/// The least budget.
const LEAST: u64 = 32 << 20;

/// The kernel fits what is left of the budget, and the root does not.
#[test]
fn an_install_stops_at_its_budget_and_goes_on_with_a_larger_one() -> Result<(), Failure> {
    const LEFT: u64 = 1_000_000;
    let world = World::new()?;
    world.publish(2)?;
    allow(&world, &format!("budget_bytes = {LEAST}"))?;
    // Since a time to come is since now.
    remember(&world, "2100-01-01T00:00:00Z", LEAST - LEFT)?;
    let (code, stopped) = world.updatectl(&["update"])?;
    assert_eq!((code, stopped["exit"].as_str()), (16, Some("over_budget")), "{stopped}");
    assert_eq!(stopped["outcome"]["verdict"], "over_budget", "{stopped}");
    let error = stopped["outcome"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("the download budget of 33554432 bytes is spent"), "{error}");
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Empty);
    // Nobody but a larger budget, or time, brings it further; nothing more is fetched meanwhile.
    let spent = || std::fs::read_to_string(world.path("state/downloads.json"));
    let before = spent()?;
    for args in [&["update"][..], &["check"]] {
        let told = said(&world, args)?;
        let expected =
            "16 release 2 is not taken: the download budget is spent: it is fetched after";
        assert!(told.starts_with(expected), "{told}");
    }
    assert_eq!(world.agent()?, 0);
    assert_eq!(spent()?, before);
    assert!(world.told(&["status"])?.contains("the download budget is spent"));

    allow(&world, &format!("budget_bytes = {}", LEAST + (3 << 20)))?;
    assert_eq!(world.updatectl(&["update"])?.0, 4);
    let (_, history) = world.updatectl(&["history"])?;
    let staged = last(&history, "staged");
    let fetched = staged["download"]["fetched"].as_u64().unwrap_or(0);
    assert!(fetched > 2 << 20, "{staged}");
    Ok(())
}

/// With the clock a day on, in the file that remembers.
#[test]
fn a_budget_is_had_anew_when_its_time_is_over() -> Result<(), Failure> {
    let world = World::new()?;
    world.publish(2)?;
    remember(&world, "2020-01-01T00:00:00Z", LEAST)?;
    allow(&world, &format!("budget_bytes = {LEAST}\nbudget_hours = 200"))?;
    assert_eq!(world.updatectl(&["update"])?.0, 4);
    let now: Value =
        serde_json::from_slice(&std::fs::read(world.path("state/downloads.json"))?).unwrap();
    let bytes = now["bytes"].as_u64();
    assert!(bytes.is_some_and(|bytes| (2_000_000..LEAST).contains(&bytes)), "{now}");
    Ok(())
}

fn last<'v>(history: &'v Value, kind: &str) -> &'v Value {
    let reports = history.as_array().map(Vec::as_slice).unwrap_or_default();
    reports.iter().rev().find(|report| report["kind"] == kind).unwrap_or(&Value::Null)
}

#[test]
fn a_check_says_what_each_way_costs_and_the_history_what_it_did() -> Result<(), Failure> {
    let world = World::new()?;
    let (one, two) = (world.build(1)?, world.build(2)?);
    world.publisher.delta(&one, &two)?;
    world.publish(2)?;
    let before = std::fs::read(world.path("disk"))?;
    let (code, checked) = world.updatectl(&["check"])?;
    assert_eq!(code, 3, "{checked}");
    assert!(std::fs::read(world.path("disk"))? == before, "a check writes nothing");
    let costs = &checked["outcome"]["costs"];
    let bytes = |way: &str| costs[way].as_u64().unwrap_or_else(|| panic!("{way}: {costs}"));
    let (full, delta) = (bytes("full"), bytes("delta"));
    assert!(full > 2 << 20 && delta < 3 << 19 && delta > 1 << 20, "{costs}");
    assert_eq!(bytes("target"), full, "an empty slot has nothing of it");
    assert!(bytes("booted") <= full && bytes("cheapest") <= delta, "{costs}");
    let told = said(&world, &["check"])?;
    assert!(
        told.contains("MiB to fetch: full payload 2.") && told.contains("by delta 1."),
        "{told}"
    );

    assert_eq!(world.updatectl(&["update"])?.0, 4);
    let (_, history) = world.updatectl(&["history"])?;
    let staged = last(&history, "staged");
    assert_eq!(staged["download"]["costs"], *costs, "{staged}");
    assert_eq!(staged["download"]["fetched"], costs["cheapest"], "{staged}");

    // What is in the slot need not be fetched again, and whoever asks is told.
    assert_eq!(world.updatectl(&["cancel"])?.0, 0);
    let (_, checked) = world.updatectl(&["check"])?;
    let left = checked["outcome"]["costs"]["target"].as_u64().unwrap_or(u64::MAX);
    assert!(left < full / 2, "{checked}");
    Ok(())
}

#[test]
fn bytes_come_no_faster_than_is_allowed() -> Result<(), Failure> {
    let world = World::new()?;
    world.publish(2)?;
    allow(&world, "bytes_per_second = 1_000_000")?;
    let began = Instant::now();
    assert_eq!(world.updatectl(&["update"])?.0, 4);
    assert!(began.elapsed() > Duration::from_millis(2200), "{:?}", began.elapsed());
    Ok(())
}
