//! A server behind TLS: whom a device believes to be it.

use partition_layout::{SlotLetter, SlotState};
use seesaw_e2e::command::Failure;
use seesaw_e2e::image_file::{Kernel, REBOOT, World};
use seesaw_e2e::liar::{Liar, Lie};
use seesaw_e2e::tls::{Authority, Certificate, GOOD, TlsProxy};
use serde_json::Value;

use crate::faults::said;

/// As a machine without a battery begins.
const NO_CLOCK: &str = "@1970-01-01 00:01:00";

/// A device that asks a server with this certificate, whose authority it trusts, and holds itself
/// healthy only while it gets a page from there.
fn device(certificate: Certificate) -> Result<(World, Liar), Failure> {
    let mut world = World::new()?;
    let ours = Authority::found(world.path("ours"))?;
    let liar = Liar::before(world.server.url())?;
    let proxy = TlsProxy::before(liar.url(), &ours, certificate)?;
    world.ask_at(proxy.url())?;
    let page = format!("{}/v1/metadata/1.root.json", proxy.url());
    let check = format!("[health.checks.page]\nkind = \"http\"\nurl = \"{page}\"\n");
    std::fs::write(world.path("config/20-page.toml"), check)?;
    world.authorities = Some(ours.certificate());
    Ok((world, liar))
}

/// To release 2, with all that a device has to ask for and to report.
fn updated(world: &mut World) -> Result<(), Failure> {
    world.publish(2)?;
    assert_eq!(world.agent()?, REBOOT);
    world.boot(|_| Kernel::Runs)?;
    assert_eq!(world.agent()?, 0);
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Confirmed);
    Ok(())
}

#[test]
fn a_device_updates_from_a_server_whose_authority_it_trusts() -> Result<(), Failure> {
    let (mut world, _) = device(GOOD)?;
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    updated(&mut world)
}

/// Each is the network's fault, and no word about releases.
#[test]
fn who_cannot_prove_to_be_the_server_is_not_asked() -> Result<(), Failure> {
    let mut world = World::new()?;
    let found = |name| Authority::found(world.path(name));
    let (ours, strangers, namesakes) = (found("ours")?, found("theirs")?, found("namesakes/ours")?);
    world.authorities = Some(ours.certificate());
    let of_another = Certificate { of: "DNS:updates.example", ..GOOD };
    let expired = Certificate { begins: "-9d", days: 8, ..GOOD };
    for (authority, certificate, why) in [
        (&strangers, GOOD, "no authority that this device trusts has signed it"),
        (&namesakes, GOOD, "no authority that this device trusts has signed it"),
        (&ours, of_another, "it is of DnsName(\"updates.example\"), and not of this server"),
        (&ours, expired, "it ended at "),
    ] {
        let proxy = TlsProxy::before(world.server.url(), authority, certificate)?;
        world.ask_at(proxy.url())?;
        for command in ["check", "update"] {
            let told = said(&world, &[command])?;
            let step =
                "cannot refresh the metadata: the certificate of https://127.0.0.1:# is refused: ";
            let expected = format!("8 not known, the server was not reached: {step}{why}");
            assert!(told.starts_with(&expected), "{told}");
        }
    }
    Ok(())
}

#[test]
fn a_device_is_not_led_from_https_to_http() -> Result<(), Failure> {
    let (world, liar) = device(GOOD)?;
    let http = Liar::before(world.server.url())?;
    liar.lie("", Lie::Elsewhere(http.url().to_owned()));
    let told = said(&world, &["check"])?;
    assert!(told.starts_with("9 ") && told.contains("redirects from https to http"), "{told}");
    assert_eq!(http.served().requests, 0);
    Ok(())
}

/// None at all, and one that is held back: the server's signed word on the time is newer.
#[test]
fn a_device_with_a_wrong_clock_goes_by_its_floor() -> Result<(), Failure> {
    let (mut world, _) = device(GOOD)?;
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    for clock in [NO_CLOCK, "-20d"] {
        world.clock = Some(clock.to_owned());
        assert_eq!(world.updatectl(&["check"])?.0, 0, "{clock}");
    }
    world.clock = Some(NO_CLOCK.to_owned());
    updated(&mut world)
}

/// Its image is older than the certificate, and it has not heard of the time since.
#[test]
fn a_device_that_cannot_know_that_a_certificate_has_begun_is_told_of_its_clock()
-> Result<(), Failure> {
    let (mut world, _) = device(GOOD)?;
    for clock in [NO_CLOCK, "-20d"] {
        world.clock = Some(clock.to_owned());
        let told = said(&world, &["check"])?;
        assert!(told.starts_with("8 ") && told.contains(" is refused: it begins at "), "{told}");
        assert!(
            told.contains("most likely its clock is behind; set it, or let a device"),
            "{told}"
        );
        let floor = "this device takes it to be 2026-11-01T00:00:00Z";
        assert!(clock != NO_CLOCK || told.contains(floor), "when its image was built: {told}");
    }
    world.ask_at(world.server.url())?;
    assert_eq!(world.updatectl(&["check"])?.0, 0, "http needs no clock");
    Ok(())
}

/// Or it would not hear of the root that takes back what the thief of a timestamp key said.
#[test]
fn a_word_on_the_time_that_lies_ahead_keeps_no_device_from_its_server() -> Result<(), Failure> {
    let (world, liar) = device(GOOD)?;
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    let file = world.path("state/metadata/freshness.json");
    let mut known: Value = serde_json::from_slice(&std::fs::read(&file)?).unwrap();
    known["floor"] = "2099-01-01T00:00:00Z".into();
    std::fs::write(&file, known.to_string())?;
    liar.served();
    let told = said(&world, &["check"])?;
    assert!(told.starts_with("7 ") && !told.contains("certificate"), "{told}");
    assert_ne!(liar.served().requests, 0, "{told}");
    Ok(())
}

/// As one without the package ca-certificates.
#[test]
fn a_device_that_trusts_no_authority_takes_http_and_no_https() -> Result<(), Failure> {
    let (mut world, _) = device(GOOD)?;
    let nobody = world.path("nobody.pem");
    std::fs::write(&nobody, "")?;
    world.authorities = Some(nobody);
    let told = said(&world, &["check"])?;
    assert!(
        told.starts_with("8 ") && told.contains("no authority that this device trusts"),
        "{told}"
    );
    world.ask_at(world.server.url())?;
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    world.publish(2)?;
    assert_eq!(world.agent()?, REBOOT);
    Ok(())
}
