//! What the packages hold.

use std::process::Command;

use fs_err as fs;
use seesaw_harness::programs::programs;
use seesaw_packaging::program_commands;

const EPOCH: u64 = 1_767_225_600;

fn dpkg_deb(arguments: &[&str], package: &std::path::Path) -> String {
    let mut command = Command::new("dpkg-deb");
    let output = command.args(arguments).arg(package).env("TZ", "UTC").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Without the size, which changes with every program.
fn entry(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    format!("{} {} {}\n", words[0], words[1], words[3..].join(" "))
}

/// Pages of verbs come and go with the verbs; tests of their own compare them.
fn is_page_of_a_verb(line: &&str) -> bool {
    let page = line.rsplit('/').next().unwrap_or(line);
    let program = page.strip_suffix(".1.gz");
    program.is_some_and(|name| program_commands().iter().all(|command| command.get_name() != name))
}

fn is_fixed(line: &&str) -> bool {
    !line.starts_with("Installed-Size") && !line.starts_with("Version")
}

#[test]
fn each_package_holds_what_it_is_for_whenever_it_is_made() {
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let programs = programs().unwrap();
    for package in seesaw_packaging::all(&programs).unwrap() {
        let file = package.build(EPOCH, first.path()).unwrap();
        let control = dpkg_deb(&["--field"], &file);
        let control: Vec<_> = control.lines().filter(is_fixed).collect();
        let listed = dpkg_deb(&["--contents"], &file);
        let listed: String = listed.lines().filter(|l| !is_page_of_a_verb(l)).map(entry).collect();
        let text = format!("{}\n\n{listed}", control.join("\n"));
        insta::assert_snapshot!(package.name(), text);
    }
    for again in seesaw_packaging::all(&programs).unwrap() {
        let file = again.build(EPOCH, second.path()).unwrap();
        let before = first.path().join(file.file_name().unwrap());
        assert!(fs::read(file).unwrap() == fs::read(before).unwrap(), "{} differs", again.name());
    }
}
