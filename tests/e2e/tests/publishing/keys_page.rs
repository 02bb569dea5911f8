//! docs/keys.md as an operator follows it: every command in it, in its order, by a shell in an empty
//! folder, against a server that runs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use payload_tools::testing::{osrel, uki};
use payload_tools::trust::{Client, Files, Limits, Reply, Step, TrustError, Trusted, UnixTime};
use seesaw_harness::programs::{Programs, checkout, programs};

use crate::served::{get, succeed};

/// Where the page's server listens; the test's takes a free port.
const LISTENS: &str = "127.0.0.1:8080";
const EXITS: &str = "# exits with ";

/// A line that the page shows as typed.
#[derive(Debug, PartialEq, Eq)]
struct Typed<'a> {
    line: &'a str,
    exits: i32,
}

/// The lines after `$ ` in the page's console blocks.
fn typed(page: &str) -> Vec<Typed<'_>> {
    let mut in_block = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
        } else if let Some(line) = line.strip_prefix("$ ").filter(|_| in_block) {
            let code = line.split_once(EXITS).and_then(|(_, code)| code.split(':').next());
            let exits = code.map_or(0, |code| code.parse().unwrap());
            lines.push(Typed { line: line.split(" # ").next().unwrap_or(line).trim(), exits });
        }
    }
    lines
}

#[test]
fn lines_and_their_exit_codes_are_read_from_the_page() {
    let page = "$ not this\n```console\n$ one --two\nsays\n$ three    # exits with 4: so\n```\n";
    let one = Typed { line: "one --two", exits: 0 };
    assert_eq!(typed(page), [one, Typed { line: "three", exits: 4 }]);
}

/// A folder in which the page's lines are run one after the other.
struct Desk {
    folder: tempfile::TempDir,
    programs: Programs,
    /// Exports so far.
    environment: String,
    server: Option<Child>,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let programs = programs().unwrap();
        Self { folder, programs, environment: String::new(), server: None }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// What `payload build` makes, of a kernel image that boots nothing.
    fn build(&self, out: &str, compatible: &str, counter: u64) {
        let text = osrel(compatible, &counter.to_string(), counter);
        let sections: [(&str, &[u8]); 2] = [(".osrel", text.as_bytes()), (".cmdline", b"panic=10")];
        fs_err::write(self.path("kernel"), uki(&sections)).unwrap();
        fs_err::write(self.path("root"), vec![counter as u8; 8192]).unwrap();
        let counter = counter.to_string();
        let mut build = Command::new(&self.programs.payload);
        build.args(["build", "--compatible", compatible, "--kernel", "kernel", "--root", "root"]);
        build.args(["--release", &counter, "--counter", &counter, "--out", out]);
        succeed(build.current_dir(self.folder.path()));
    }

    fn run(&mut self, Typed { line, exits }: &Typed<'_>) {
        if let Some(serve) = line.strip_suffix('&') {
            return self.serve(serve.trim());
        }
        if line.starts_with("export ") {
            let address = fs_err::read_to_string(self.path("address")).unwrap();
            let line = line.replace(LISTENS, address.trim());
            assert_ne!(line.find(address.trim()), None, "the page names its server: {line}");
            self.environment += &format!("{line}\n");
            return;
        }
        let output = self.shell(line).output().unwrap();
        let code = output.status.code();
        assert_eq!(code, Some(*exits), "$ {line}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    fn shell(&self, line: &str) -> Command {
        let folder = self.programs.payload.parent().unwrap();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("bash");
        shell.args(["-euc", &format!("{}{line}", self.environment)]).env("PATH", path);
        shell.stdin(Stdio::null()).current_dir(self.folder.path());
        shell
    }

    /// The page's server, on a free port.
    fn serve(&mut self, line: &str) {
        assert!(line.contains(LISTENS), "{line}");
        let line = format!("exec {} --announce address", line.replace(LISTENS, "127.0.0.1:0"));
        let log = fs_err::File::create(self.path("log")).unwrap().into_parts().0;
        self.server = Some(self.shell(&line).stderr(log).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.path("address").exists() {
            assert!(Instant::now() < deadline, "the server does not start");
            std::thread::yield_now();
        }
    }

    /// What a device of that compatible believes, by the first root alone or by what it has stored.
    fn device(&self, compatible: &str, stored: &mut Files) -> Result<Trusted, TrustError> {
        let first_root = fs_err::read(self.path("publisher/metadata/1.root.json")).unwrap();
        let (compatible, now) = (compatible.parse().unwrap(), UnixTime::of_system_clock());
        let (mut client, _) =
            Client::new(&first_root, stored, &compatible, now, Limits::default())?;
        let address = fs_err::read_to_string(self.path("address")).unwrap();
        while let Step::Fetch { path, .. } = client.next() {
            let found = get(address.trim(), &format!("/v1/metadata/{path}"));
            client.feed(found.map_or(Reply::NotFound, Reply::Bytes))?;
        }
        *stored = client.files();
        client.finish()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(child) = &mut self.server {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

fn counters(trusted: &Trusted) -> Vec<u64> {
    trusted.releases().iter().map(|release| release.facts().counter).collect()
}

#[test]
fn the_ceremony_works_as_it_is_written() {
    let page = fs_err::read_to_string(checkout().join("docs/keys.md")).unwrap();
    let lines = typed(&page);
    assert!(lines.len() > 60, "{} lines", lines.len());
    let mut desk = Desk::new();
    desk.build("release-1", "demo-x86_64", 1);
    desk.build("release-2", "demo-x86_64", 2);
    desk.build("release-arm", "demo-aarch64", 1);
    // A device that sees the first release, and then nothing until the end.
    let mut old = Files::new();
    for typed in &lines {
        desk.run(typed);
        if typed.line.starts_with("payload publish release-1 ") {
            assert_eq!(counters(&desk.device("demo-x86_64", &mut old).unwrap()), [1]);
        }
        if typed.line.starts_with("update-server channel create") {
            let team = desk.device("demo-aarch64", &mut Files::new()).unwrap();
            assert_eq!(counters(&team), [1], "the team's release");
        }
    }
    for stored in [&mut old, &mut Files::new()] {
        let trusted = desk.device("demo-x86_64", stored).unwrap();
        assert_eq!(counters(&trusted), [2]);
        assert!(trusted.files_to_store().contains_key("5.root.json"), "four roots later");
        let error = desk.device("demo-aarch64", stored).unwrap_err();
        assert!(matches!(error, TrustError::NotDelegated { .. }), "{error:?}");
    }
    secrets_stay_where_they_were_made(&desk);
}

/// No private key has gone to the stick, nor root's to the publisher.
fn secrets_stay_where_they_were_made(desk: &Desk) {
    let private = |folder: &str| {
        let entries = fs_err::read_dir(desk.path(folder)).unwrap().map(Result::unwrap);
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".pem")).collect();
        names.sort();
        names
    };
    assert_eq!(private("ann/keys"), ["ann.pem"]);
    assert!(private("publisher/keys").iter().all(|name| !name.contains("ann")));
    assert!(!desk.path("stick/keys").exists());
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&desk.path("ann/keys/ann.pem")), 0o600);
}
