use rustix::fs::inotify::ReadFlags;

use super::*;
use crate::durable_file::tests::watch;

fn open(folder: &Path) -> Result<Keyring, KeyringError> {
    Keyring::open(folder, Secrets::default())
}

fn with_passphrase(passphrase: &str) -> Secrets {
    Secrets { passphrase: Some(Secret::from(passphrase.to_owned())), ..Secrets::default() }
}

fn mode(path: &Path) -> u32 {
    fs_err::metadata(path).unwrap().permissions().mode() & 0o777
}

fn public(keyring: &Keyring, name: &str) -> PublicKey {
    keyring.named(name).unwrap().0.clone()
}

fn write_private(path: &Path, text: &str) {
    durable_file::write(path, text.as_bytes(), Readers::Owner, Existing::Replace).unwrap();
}

#[test]
fn a_key_is_made_once_and_only_its_owner_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let mut keyring = open(&keys).unwrap();
    assert!(keyring.named("root").is_none());
    assert_eq!(keyring.make("root", &Keeping::Plain).unwrap(), Made::New);
    assert_eq!((mode(&keys), mode(&keys.join("root.pem"))), (0o700, 0o600));
    let made = public(&keyring, "root");
    let mut again = open(&keys).unwrap();
    assert_eq!(again.make("root", &Keeping::Plain).unwrap(), Made::Kept);
    assert_eq!(public(&again, "root"), made);
    assert_eq!(again.make("root-2", &Keeping::Plain).unwrap(), Made::New);
    assert_eq!(again.public_keys(), [made.clone(), public(&again, "root-2")]);
    let beside = fs_err::read_to_string(keys.join("root.pub")).unwrap();
    assert_eq!(beside.parse::<PublicKey>().unwrap(), made);
    assert_eq!(
        again.sign(made.id(), b"message").unwrap(),
        keyring.sign(made.id(), b"message").unwrap()
    );
    let error = keyring.sign(public(&again, "root-2").id(), b"message").unwrap_err();
    assert!(matches!(error, KeyringError::NotAtHand(_)), "{error:?}");
}

/// A power cut leaves no half of a key, which could neither be used nor made again.
#[test]
fn a_key_appears_whole_and_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut keyring = open(folder.path()).unwrap();
    let seen = watch(folder.path(), || {
        keyring.make("root", &Keeping::Plain).unwrap();
    });
    let moved = |name: &str| (name.to_owned(), ReadFlags::MOVED_TO);
    assert_eq!(seen, [moved("root.pub"), moved("root.pem")]);
    // Another process made it after this one had looked.
    let path = folder.path().join("targets.pem");
    fs_err::write(&path, "its key").unwrap();
    let error = keyring.make("targets", &Keeping::Plain).unwrap_err();
    assert!(matches!(error, KeyringError::Io(_)), "{error:?}");
    assert_eq!(fs_err::read(&path).unwrap(), b"its key");
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    for keeping in [Keeping::Plain, Keeping::Encrypted(Secret::from("correct".to_owned()))] {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).unwrap().make("root", &keeping).unwrap();
        let path = folder.path().join("root.pem");
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(matches!(error, KeyringError::Open { mode: 0o640, .. }), "{error:?}");
    }
}

#[test]
fn a_file_that_is_no_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_private(&folder.path().join("root.pem"), "not a key");
    let error = open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("root.pem"), "{error}");
}

#[test]
fn an_encrypted_key_is_opened_when_it_signs() {
    let folder = tempfile::tempdir().unwrap();
    let mut keyring = open(folder.path()).unwrap();
    let keeping = Keeping::Encrypted(Secret::from("correct".to_owned()));
    assert_eq!(keyring.make("root", &keeping).unwrap(), Made::New);
    let id = public(&keyring, "root").id().clone();
    let signature = keyring.sign(&id, b"message").unwrap();
    let path = folder.path().join("root.pem");
    let text = fs_err::read_to_string(&path).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{text}");

    let mut again = Keyring::open(folder.path(), with_passphrase("correct")).unwrap();
    assert_eq!(again.make("root", &Keeping::Plain).unwrap(), Made::Kept);
    assert_eq!(public(&again, "root").id(), &id);
    assert_eq!(again.sign(&id, b"message").unwrap(), signature);
    let wrong = Keyring::open(folder.path(), with_passphrase("wrong")).unwrap();
    let error = wrong.sign(&id, b"message").unwrap_err();
    assert!(matches!(&error, KeyringError::WrongPassphrase { .. }), "{error:?}");
    assert!(error.to_string().contains("root.pem"), "{error}");
}

#[test]
fn which_key_a_closed_one_is_says_its_public_half() {
    let folder = tempfile::tempdir().unwrap();
    let mut keyring = open(folder.path()).unwrap();
    let keeping = Keeping::Encrypted(Secret::from("correct".to_owned()));
    keyring.make("root", &keeping).unwrap();
    keyring.make("other", &Keeping::Plain).unwrap();
    let other = public(&keyring, "other").id().clone();
    fs_err::remove_file(folder.path().join("other.pem")).unwrap();
    fs_err::rename(folder.path().join("other.pub"), folder.path().join("root.pub")).unwrap();
    let keyring = Keyring::open(folder.path(), with_passphrase("correct")).unwrap();
    let error = keyring.sign(&other, b"message").unwrap_err();
    assert!(matches!(error, KeyringError::Another { .. }), "{error:?}");
    fs_err::remove_file(folder.path().join("root.pub")).unwrap();
    assert!(matches!(open(folder.path()).unwrap_err(), KeyringError::NoPublic { .. }));
}

#[test]
fn a_name_is_one_keys() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).unwrap().make("root", &Keeping::Plain).unwrap();
    let path = folder.path().join("root.uri");
    write_private(&path, "pkcs11:token=t;object=root");
    assert!(matches!(open(folder.path()).unwrap_err(), KeyringError::Two { .. }));
    fs_err::remove_file(folder.path().join("root.pem")).unwrap();
    open(folder.path()).unwrap();
    write_private(&path, "pkcs11:token=t;object=root?pin-value=1234");
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, KeyringError::Uri { .. }), "{error:?}");
}

/// Somebody's stick may have keys/ in it, and say there which file of the reader's has the PIN.
#[test]
fn a_pin_source_is_read_only_in_a_folder_that_was_named() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).unwrap().make("root", &Keeping::Plain).unwrap();
    fs_err::remove_file(folder.path().join("root.pem")).unwrap();
    let path = folder.path().join("root.uri");
    write_private(&path, "pkcs11:token=t;object=root?pin-source=/srv/notes");
    let sign = |pin_sources| {
        let pkcs11_module = Some("/absent.so".into());
        let secrets = Secrets { pin_sources, pkcs11_module, ..Secrets::default() };
        let keyring = Keyring::open(folder.path(), secrets).unwrap();
        keyring.sign(public(&keyring, "root").id(), b"message").unwrap_err()
    };
    assert_eq!(Secrets::default().pin_sources, PinSources::Refused);
    let error = sign(PinSources::Refused);
    assert!(
        matches!(&error, KeyringError::PinSource { path: named } if *named == path),
        "{error:?}"
    );
    let error = sign(PinSources::Read);
    assert!(matches!(error, KeyringError::Token { .. }), "{error:?}");
}
