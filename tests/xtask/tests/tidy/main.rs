//! The rules that the tree keeps for itself. A rule is a function from what is there to complaints,
//! and the last test shows each rule something broken.

mod code;
mod commands;
mod docs;
mod workspace;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// A text file of the tree.
struct Text {
    path: String,
    text: String,
}

/// What is there, as the rules see it.
struct Tree {
    files: Vec<Text>,
    /// Every file and folder, also what is no text.
    paths: BTreeSet<String>,
}

impl Tree {
    /// The checkout: what git tracks, and what it would track next.
    fn checkout() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = Command::new("git").args(list).current_dir(root).output().unwrap();
        assert!(listed.status.success(), "the tree is what git knows of it: {listed:?}");
        let names = String::from_utf8(listed.stdout).unwrap();
        let names = names.split_terminator('\0').filter(|name| root.join(name).is_file());
        Self::of(names.map(|name| (name, fs_err::read(root.join(name)).unwrap())))
    }

    fn of<'a>(files: impl Iterator<Item = (&'a str, Vec<u8>)>) -> Self {
        let mut tree = Self { files: Vec::new(), paths: BTreeSet::new() };
        for (path, bytes) in files {
            let ancestors = Path::new(path).ancestors().filter_map(Path::to_str);
            tree.paths.extend(ancestors.filter(|path| !path.is_empty()).map(str::to_owned));
            if let Ok(text) = String::from_utf8(bytes) {
                tree.files.push(Text { path: path.to_owned(), text });
            }
        }
        tree
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    fn complaints(&self) -> Vec<String> {
        let each = self.files.iter().flat_map(|file| {
            [code::complaints(file), docs::complaints(file, self), commands::complaints(file)]
        });
        each.flatten().chain(workspace::complaints(self)).collect()
    }
}

#[test]
fn the_tree_is_tidy() {
    let tree = Tree::checkout();
    assert!(tree.files.len() > 200, "only {} files found", tree.files.len());
    let complaints = tree.complaints();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// A small tree that is tidy but for one file.
fn complaints_about(path: &str, text: &str) -> Vec<String> {
    let member = "[lints]\nworkspace = true\n";
    let workspace = "[workspace]\nmembers = [\n    # What it is.\n    \"kit\",\n]\n\
                     [workspace.lints.rust]\nunsafe_code = \"deny\"\n";
    let mut files = vec![
        ("Cargo.toml", workspace),
        ("kit/Cargo.toml", member),
        ("kit/src/lib.rs", "#![forbid(unsafe_code)]\n"),
        ("docs/formats.md", "# Formats\n\n## The manifest\n"),
    ];
    files.retain(|(existing, _)| *existing != path);
    files.push((path, text));
    Tree::of(files.into_iter().map(|(path, text)| (path, text.into()))).complaints()
}

#[test]
fn the_small_tree_is_tidy() {
    let text = "See [formats](docs/formats.md#the-manifest), kit/src/lib.rs, `/etc/x.toml`, and\n\
                `cargo xtask demo --quick`.\n\n```console\n$ updatectl status   # look\n```\n";
    assert_eq!(complaints_about("README.md", text), Vec::<String>::new());
}

#[test]
fn each_rule_sees_what_it_is_for() {
    let lines = |count: usize| "// a line\n".repeat(count);
    let function = |count| format!("fn long() {{\n{}}}\n", lines(count));
    let not_yet = concat!("// TO", "DO: later\n");
    let machine = concat!("# kept in /ro", "ot/build\n");
    let undescribed = "[workspace]\nmembers = [\n    \"kit\",\n]\n\
                       [workspace.lints.rust]\nunsafe_code = \"deny\"\n";
    let unsafe_allowed = "[workspace]\nmembers = [\n    # What.\n    \"kit\",\n]\n";
    let table: &[(&str, &str, &str)] = &[
        ("kit/src/a.rs", &lines(401), "401 lines"),
        ("kit/tests/a.rs", &lines(651), "651 lines"),
        ("kit/src/a.rs", &function(69), "`long` has 71 lines"),
        ("kit/src/a.rs", not_yet, "says TO"),
        ("kit/src/a.rs", "fn f() { todo!() }", "calls todo!"),
        ("kit/src/a.rs", "fn f() { dbg!(1); }", "calls dbg!"),
        ("kit/src/a.rs", "#[test]\n#[ignore]\nfn f() {}", "is ignored"),
        ("kit/src/a.rs", "fn f( {", "cannot be read"),
        ("kit/x.conf", machine, "names a folder of one machine"),
        ("README.md", "`cargo xtask dance`", "no `dance`"),
        ("README.md", "`cargo xtask demo --loud`", "no `--loud`"),
        ("README.md", "`updatectl enable`", "no `enable`"),
        ("README.md", "```console\n$ payload sign --foo\n```\n", "--foo"),
        ("README.md", "```console\n$ payload bundle\n```\n", "required"),
        ("README.md", "see kit/src/gone.rs", "kit/src/gone.rs, which is not there"),
        ("docs/a.md", "see `src/gone.rs`", "src/gone.rs, which is not there"),
        ("docs/a.md", "[f](gone.md)", "docs/gone.md, which is not there"),
        ("docs/a.md", "[f](formats.md#gone)", "formats.md#gone, which is no heading"),
        ("kit/src/a.rs", "// see docs/gone.md", "docs/gone.md, which is not there"),
        ("Cargo.toml", undescribed, "does not say what `kit` is"),
        ("Cargo.toml", unsafe_allowed, "unsafe_code"),
        ("kit/Cargo.toml", "[package]\n", "lints.workspace"),
        ("kit/src/lib.rs", "//! No word of it.\n", "forbid(unsafe_code)"),
    ];
    for (path, text, wanted) in table {
        let complaints = complaints_about(path, text);
        assert!(complaints.iter().any(|found| found.contains(wanted)), "{wanted}: {complaints:?}");
    }
}
