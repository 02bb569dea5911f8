use std::process::Command;

use seesaw_harness::soft_hsm::SoftHsm;

use crate::python_tuf::both_clients_accept;
use crate::served::{COMPATIBLE, Served, succeed};

/// Root with an ECDSA key that was on the token before, the others with Ed25519 keys made there.
#[test]
fn what_a_token_signed_is_accepted_by_both_clients() {
    let folder = tempfile::tempdir().unwrap();
    let hsm = SoftHsm::new("release").unwrap();
    let pem = folder.path().join("p256.pem");
    let mut genpkey = Command::new("openssl");
    genpkey.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]);
    succeed(genpkey.arg(&pem));
    hsm.import(&pem, "from elsewhere").unwrap();

    let existing = "root=pkcs11:token=release;object=from%20elsewhere";
    let token = ["keygen", "--pkcs11", "pkcs11:token=release", "--compatible", COMPATIBLE];
    let served =
        Served::with_keys(hsm.environment().into(), &[&["keygen", "--use", existing], &token]);
    let keys = fs_err::read_dir(served.publisher().join("keys")).unwrap();
    let mut keys: Vec<_> =
        keys.map(|key| key.unwrap().file_name().into_string().unwrap()).collect();
    keys.sort();
    let names = ["demo-x86_64", "root", "snapshot", "targets"];
    let files = names.iter().flat_map(|name| [format!("{name}.pub"), format!("{name}.uri")]);
    assert_eq!(keys, files.collect::<Vec<_>>());
    let root = fs_err::read_to_string(served.first_root()).unwrap();
    assert!(root.contains("ecdsa-sha2-nistp256") && root.contains("\"ed25519\""), "{root}");

    served.publish(&served.release(1), &["stable"]);
    served.publish(&served.release(2), &["stable"]);
    served.renew(&["--all", "--root"]);
    both_clients_accept(&served, 2);
}

/// Runs `payload` with the token, and another PIN or URI than the right one.
fn refused(hsm: &SoftHsm, pin: &str, args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let programs = seesaw_harness::programs::programs().unwrap();
    let mut payload = Command::new(programs.payload);
    payload.args(args).arg("--publisher").arg(folder.path());
    payload.envs(hsm.environment()).env("SEESAW_PKCS11_PIN", pin);
    let output = payload.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!folder.path().join("keys").exists(), "nothing is left");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_token_that_does_not_give_a_key_says_why() {
    let hsm = SoftHsm::new("release").unwrap();
    let make = ["keygen", "--name", "root", "--pkcs11", "pkcs11:token=release"];
    let said = refused(&hsm, "4321", &make);
    assert!(said.contains("the token refuses the PIN"), "{said}");
    let absent = ["keygen", "--use", "root=pkcs11:token=other;object=root"];
    let said = refused(&hsm, "1234", &absent);
    assert!(said.contains("no token is as the URI says"), "{said}");
    let absent = ["keygen", "--use", "root=pkcs11:token=release;object=root"];
    let said = refused(&hsm, "1234", &absent);
    assert!(said.contains("the token has no such private key"), "{said}");
    let absent =
        ["keygen", "--use", "root=pkcs11:token=t;object=r", "--pkcs11-module", "/absent.so"];
    let said = refused(&hsm, "1234", &absent);
    assert!(said.contains("the PKCS #11 module /absent.so cannot be used"), "{said}");
}

/// Two repositories on one token: the second does not take the first one's key for its own.
#[test]
fn a_key_of_the_same_name_is_not_taken_by_chance() {
    let hsm = SoftHsm::new("release").unwrap();
    let make = ["keygen", "--name", "root", "--pkcs11", "pkcs11:token=release"];
    let folder = tempfile::tempdir().unwrap();
    let programs = seesaw_harness::programs::programs().unwrap();
    let mut first = Command::new(programs.payload);
    first.args(make).arg("--publisher").arg(folder.path()).envs(hsm.environment());
    succeed(&mut first);
    let said = refused(&hsm, "1234", &make);
    assert!(said.contains("has a key of that name already"), "{said}");
}

/// The same folder, whoever may have written it: only who names it for its keys stands for it.
#[test]
fn the_file_with_a_pin_is_read_only_where_the_keys_are_named() {
    let hsm = SoftHsm::new("release").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pin = folder.path().join("pin");
    fs_err::write(&pin, "1234\n").unwrap();
    let payload = seesaw_harness::programs::programs().unwrap().payload;
    let run = |args: &[&str]| {
        let mut command = Command::new(&payload);
        command.args(args).arg("--publisher").arg(folder.path());
        command.envs(hsm.environment()).env_remove("SEESAW_PKCS11_PIN");
        command.output().unwrap()
    };
    let token = format!("pkcs11:token=release?pin-source={}", pin.display());
    let made = run(&["keygen", "--pkcs11", &token, "--compatible", COMPATIBLE]);
    assert!(made.status.success(), "the command line is its user's own: {made:?}");
    let timestamp = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";
    let init = ["init", "--compatible", COMPATIBLE, "--timestamp-key", timestamp];
    let refused = run(&init);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("has a pin-source, which is read only where --keys"), "{said}");
    assert!(!folder.path().join("metadata").exists());
    let keys = folder.path().join("keys");
    let begun = run(&[&init[..], &["--keys", keys.to_str().unwrap()]].concat());
    assert!(begun.status.success(), "{begun:?}");
}
