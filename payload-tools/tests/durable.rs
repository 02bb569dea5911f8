//! What a power cut would leave, judged by the order of system calls, which strace shows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use payload_tools::testing::{osrel, uki};

const CALLS: &str = "trace=fsync,fdatasync,mkdir,mkdirat,rename,renameat,renameat2,link,linkat";

/// What a medium has for certain, of what a program does to names and contents.
#[derive(Debug, Default)]
struct Medium {
    /// Files and folders whose content, or whose names, are there.
    synced: BTreeSet<PathBuf>,
    /// Names given since their folder was last synced.
    at_risk: BTreeSet<PathBuf>,
}

impl Medium {
    /// Takes note of one line of strace's.
    fn see(&mut self, line: &str) {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let Some((call, arguments)) = call.split_once('(') else { return };
        let quoted: Vec<_> = arguments.split('"').skip(1).step_by(2).map(PathBuf::from).collect();
        match (call, &quoted[..]) {
            ("fsync" | "fdatasync", []) => self.sync(arguments),
            ("mkdir" | "mkdirat", [made]) if line.ends_with("= 0") => {
                self.at_risk.insert(made.clone());
            }
            (_, [from, to]) => self.name(from, to),
            _ => {}
        }
    }

    fn sync(&mut self, arguments: &str) {
        let path = arguments.split_once('<').and_then(|(_, path)| path.split_once('>'));
        let path = PathBuf::from(path.expect("strace -y names what is synced").0);
        self.at_risk.retain(|name| name.parent() != Some(&path));
        self.synced.insert(path);
    }

    fn name(&mut self, from: &Path, to: &Path) {
        let moved = |path: PathBuf| match path.strip_prefix(from) {
            Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
            Ok(rest) => to.join(rest),
            Err(_) => path,
        };
        self.synced = std::mem::take(&mut self.synced).into_iter().map(moved).collect();
        self.at_risk = std::mem::take(&mut self.at_risk).into_iter().map(moved).collect();
        self.at_risk.insert(to.to_owned());
    }

    /// What is below `folder`, or is it, and would not be there, or not whole.
    fn losses(&self, folder: &Path) -> Vec<PathBuf> {
        let mut losses: Vec<_> = self.at_risk.iter().cloned().collect();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs_err::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !self.synced.contains(&path) {
                    losses.push(path);
                }
            }
        }
        losses
    }
}

#[test]
fn a_release_is_durable_when_it_has_its_name() {
    let folder = tempfile::tempdir().unwrap();
    // strace shows files by their real names.
    let real = folder.path().canonicalize().unwrap();
    let path = |name: &str| real.join(name);
    let text = osrel("demo-x86_64", "2", 2);
    let sections: [(&str, &[u8]); 2] = [(".osrel", text.as_bytes()), (".cmdline", b"panic=10")];
    fs_err::write(path("os.efi"), uki(&sections)).unwrap();
    fs_err::write(path("root.img"), vec![5; 2 << 20]).unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-e", CALLS, "-o"]).arg(path("log"));
    strace.arg(env!("CARGO_BIN_EXE_payload")).arg("build").arg("--out").arg(path("new/release-2"));
    strace.args(["--compatible=demo-x86_64", "--release=2", "--counter=2"]);
    strace.arg("--kernel").arg(path("os.efi")).arg("--root").arg(path("root.img"));
    let built = strace.output().expect("strace (package strace) is needed");
    assert!(built.status.success(), "{built:?}");

    let mut medium = Medium::default();
    let log = fs_err::read_to_string(path("log")).unwrap();
    let named = log.lines().position(|line| line.contains("release-2\"")).unwrap();
    log.lines().take(named).for_each(|line| medium.see(line));
    let below = |name: &&PathBuf| name.parent() != Some(&path("new"));
    assert_eq!(medium.at_risk.iter().find(below), None, "the folder is named before what is in it");
    log.lines().skip(named).for_each(|line| medium.see(line));
    assert_eq!(medium.losses(&path("new/release-2")), Vec::<PathBuf>::new(), "{log}");
}
