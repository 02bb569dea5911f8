//! Encrypted keys as people and scripts use them, and as OpenSSL reads them.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use payload_tools::trust::PublicKey;

/// A publisher's folder.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn public(&self, name: &str) -> PublicKey {
        let text = fs_err::read_to_string(self.path(&format!("keys/{name}.pub"))).unwrap();
        text.parse().unwrap()
    }

    /// Runs `payload`, which has no terminal to ask.
    fn payload(&self, passphrase: Option<&str>, arguments: &[&str]) -> Output {
        // In a session of its own: without a controlling terminal.
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(env!("CARGO_BIN_EXE_payload")).args(arguments);
        command.env_remove("SEESAW_PASSPHRASE_FILE").env_remove("SEESAW_PASSPHRASE");
        command.envs(passphrase.map(|text| ("SEESAW_PASSPHRASE", text)));
        command.current_dir(self.0.path()).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs `payload` at a terminal, where each question gets the next answer; what was shown there.
    fn at_a_terminal(&self, arguments: &[&str], answers: &[&str]) -> (bool, String) {
        let mut python = Command::new("python3");
        python.args(["-c", TERMINAL, &answers.join("\n"), env!("CARGO_BIN_EXE_payload")]);
        python.env_remove("SEESAW_PASSPHRASE_FILE").env_remove("SEESAW_PASSPHRASE");
        let output = python.args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }
}

/// Answers only once the program has asked and keeps what is typed from being shown.
const TERMINAL: &str = r#"
import os, pty, re, sys, termios
answers, command = sys.argv[1].split("\n"), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
shown = b""
def read():
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
for number, answer in enumerate(answers):
    while len(re.findall(rb"(?:assphrase[^\n]*|again): ", shown)) <= number:
        more = read()
        if not more:
            break
        shown += more
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        os.sched_yield()
    os.write(terminal, answer.encode() + b"\n")
while more := read():
    shown += more
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

const MAKE: [&str; 5] = ["keygen", "--encrypt", "--compatible", "demo", "--json"];
/// The timestamp key is any.
const INIT: [&str; 6] = [
    "init",
    "--yes",
    "--compatible",
    "demo",
    "--timestamp-key",
    "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29",
];

#[test]
fn keys_are_made_and_used_with_a_passphrase() {
    let folder = Folder::new();
    let made = folder.payload(Some("correct horse"), &MAKE);
    assert!(made.status.success(), "{made:?}");
    for name in ["root", "targets", "snapshot", "demo"] {
        let text = fs_err::read_to_string(folder.path(&format!("keys/{name}.pem"))).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{text}");
    }
    let wrong = folder.payload(Some("correct"), &INIT);
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("the passphrase is not the one of ") && said.contains(".pem"), "{said}");
    let none = folder.payload(None, &INIT);
    assert_eq!(none.status.code(), Some(1));
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(
        said.contains("name a file with --passphrase-file, or set SEESAW_PASSPHRASE"),
        "{said}"
    );
    assert!(!folder.path("metadata").exists());

    fs_err::write(folder.path("passphrase"), "correct horse\n").unwrap();
    let init = folder.payload(None, &[&INIT[..], &["--passphrase-file", "passphrase"]].concat());
    assert!(init.status.success(), "{init:?}");
    assert!(folder.path("metadata/1.root.json").exists());
    let empty = folder.payload(Some(""), &["keygen", "--encrypt", "--name", "other"]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(!folder.path("keys/other.pem").exists());
}

#[test]
fn a_key_that_is_there_is_not_encrypted_and_that_is_said() {
    let folder = Folder::new();
    assert!(folder.payload(None, &["keygen", "--name", "other"]).status.success());
    let plain = fs_err::read(folder.path("keys/other.pem")).unwrap();
    let again = folder.payload(Some("correct horse"), &["keygen", "--encrypt", "--name", "other"]);
    assert!(again.status.success(), "{again:?}");
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("other has a key already") && said.contains("other.pem"), "{said}");
    assert_eq!(fs_err::read(folder.path("keys/other.pem")).unwrap(), plain);
}

#[test]
fn a_terminal_asks_for_the_passphrase_and_does_not_show_it() {
    let folder = Folder::new();
    let typo = ["correct horse", "correct house"];
    let (done, shown) = folder.at_a_terminal(&MAKE, &typo);
    assert!(!done && shown.contains("the two passphrases differ"), "{shown}");
    let (done, shown) = folder.at_a_terminal(&MAKE, &["correct horse", "correct horse"]);
    assert!(done, "{shown}");
    assert!(shown.contains("New passphrase") && shown.contains("The same again"), "{shown}");
    // Wrong at first; then it opens every key.
    let (done, shown) = folder.at_a_terminal(&INIT, &["horse", "correct horse"]);
    assert!(done, "{shown}");
    assert_eq!(shown.matches("Passphrase of ").count(), 2, "{shown}");
    assert!(!shown.contains("horse"), "{shown}");
}

#[test]
fn openssl_reads_an_encrypted_key_with_its_passphrase_alone() {
    let folder = Folder::new();
    let made = folder.payload(Some("correct"), &["keygen", "--encrypt", "--name", "root-2"]);
    assert!(made.status.success(), "{made:?}");
    let openssl = |passphrase: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-pubout", "-passin", &format!("pass:{passphrase}"), "-in"]);
        openssl.arg(folder.path("keys/root-2.pem")).output().expect("openssl is needed")
    };
    let read = openssl("correct");
    assert!(read.status.success(), "{read:?}");
    let public: PublicKey = String::from_utf8(read.stdout).unwrap().parse().unwrap();
    assert_eq!(public, folder.public("root-2"));
    assert!(!openssl("wrong").status.success());
}
