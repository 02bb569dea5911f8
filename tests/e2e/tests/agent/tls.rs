//! A server behind TLS: whom a device believes to be it.

use seesaw_e2e::command::Failure;
use seesaw_e2e::image_file::{REBOOT, World};
use seesaw_e2e::liar::{Liar, Lie};
use seesaw_e2e::tls::{Authority, Certificate, GOOD, TlsProxy};

use crate::faults::said;

/// A device that asks a server with this certificate, whose authority it trusts.
fn device(certificate: Certificate) -> Result<(World, Liar), Failure> {
    let mut world = World::new()?;
    let ours = Authority::found(world.path("ours"))?;
    let liar = Liar::before(world.server.url())?;
    let proxy = TlsProxy::before(liar.url(), &ours, certificate)?;
    world.ask_at(proxy.url())?;
    world.authorities = Some(ours.certificate());
    Ok((world, liar))
}

#[test]
fn a_device_updates_from_a_server_whose_authority_it_trusts() -> Result<(), Failure> {
    let (world, _) = device(GOOD)?;
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    world.publish(2)?;
    assert_eq!(world.agent()?, REBOOT, "metadata, manifest, payloads and reports");
    Ok(())
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
