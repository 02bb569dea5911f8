//! The crates of others that programs are built of, and their licences.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fs_err as fs;
use seesaw_harness::cargo::cargo;
use seesaw_harness::command::run;
use serde_json::Value;

use crate::deb::PackagingError;

/// What a licence's file is called.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "UNLICENSE", "NOTICE"];

/// What crates have in common whose licences are the same to the letter.
type Terms = (String, BTreeSet<String>);

/// Paragraphs of a copyright file on every crate, but ours, that `package` is built of. Of several
/// licences to choose from all are shown but the Apache License 2.0, which Debian has.
pub(crate) fn of_crates(package: &str) -> Result<String, PackagingError> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--package", package, "--edges", "normal", "--no-dedupe"]);
    let listed = run("listing crates", tree.args(["--prefix", "none", "--format", "{p}|{l}"]))?;
    let folders = folders()?;
    let mut groups: BTreeMap<Terms, BTreeSet<String>> = BTreeMap::new();
    for (name, licence) in listed.lines().filter_map(of_others) {
        let folder = folders.get(&name).ok_or_else(|| no_licence(&name))?;
        let texts = texts(folder)?;
        if texts.is_empty() && !licence.contains("Apache-2.0") {
            return Err(no_licence(&name));
        }
        groups.entry((licence, texts)).or_default().insert(name);
    }
    Ok(groups.iter().map(|(terms, crates)| paragraph(terms, crates)).collect())
}

fn no_licence(name: &str) -> PackagingError {
    PackagingError::Licence { name: name.to_owned() }
}

/// A line of `cargo tree`, `NAME vVERSION ...|LICENCE`: the crate, as its folder is called, and its
/// licence. Crates with a path are ours.
fn of_others(line: &str) -> Option<(String, String)> {
    let (name, licence) = line.split_once('|')?;
    let mut words = name.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    let ours = words.any(|word| word.starts_with("(/"));
    (!ours).then(|| (format!("{name}-{version}"), licence.to_owned()))
}

/// Where cargo keeps the source of each crate.
fn folders() -> Result<BTreeMap<String, PathBuf>, PackagingError> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--locked", "--format-version", "1"]);
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let text = run("finding crates", metadata.args(["--filter-platform", &target]))?;
    let found: Value = serde_json::from_str(&text).map_err(std::io::Error::from)?;
    let packages = found["packages"].as_array().into_iter().flatten();
    let folder = |package: &Value| {
        let name = format!("{}-{}", package["name"].as_str()?, package["version"].as_str()?);
        Some((name, Path::new(package["manifest_path"].as_str()?).parent()?.to_owned()))
    };
    Ok(packages.filter_map(folder).collect())
}

/// The licences in a crate's folder, but for the Apache License.
fn texts(folder: &Path) -> Result<BTreeSet<String>, PackagingError> {
    let mut texts = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if NAMES.iter().any(|known| name.starts_with(known)) && entry.file_type()?.is_file() {
            let text = String::from_utf8_lossy(&fs::read(entry.path())?).replace('\r', "");
            let words: Vec<&str> = text.split_whitespace().take(4).collect();
            if words.join(" ") != "Apache License Version 2.0," {
                texts.insert(text.trim().to_owned());
            }
        }
    }
    Ok(texts)
}

fn paragraph((licence, texts): &Terms, crates: &BTreeSet<String>) -> String {
    let crates: Vec<&str> = crates.iter().map(String::as_str).collect();
    let mut text = format!(
        "\nFiles: {}\nCopyright: as said below, or by the crate's authors\nLicense: {licence}\n",
        crates.join("\n ")
    );
    if licence.contains("Apache-2.0") {
        text += " The Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0.\n";
    }
    texts.iter().for_each(|terms| text += &indented(terms));
    text
}

/// Lines as a field of a copyright file goes on.
pub(crate) fn indented(text: &str) -> String {
    let line = |line: &str| match line.trim_end() {
        "" => " .\n".to_owned(),
        line => format!(" {line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_with_a_path_are_ours() {
        let clap = ("clap-4.6.9".to_owned(), "MIT OR Apache-2.0".to_owned());
        assert_eq!(of_others("clap v4.6.9 (proc-macro)|MIT OR Apache-2.0"), Some(clap));
        assert_eq!(of_others("payload-tools v0.1.0 (/a/b)|MIT"), None);
        assert_eq!(of_others(""), None);
    }

    #[test]
    fn a_crate_with_terms_of_its_own_has_them_in_full() {
        let text = of_crates("seesaw-agent").unwrap();
        let paragraph = text.split("\n\n").find(|text| text.contains("subtle-")).unwrap();
        assert!(paragraph.contains("License: BSD-3-Clause"), "{paragraph}");
        assert!(paragraph.contains(" Redistribution and use in source"), "{paragraph}");
        assert!(!text.contains("payload-tools"), "our own crates have our own paragraph");
        assert!(!text.contains("TERMS AND CONDITIONS FOR USE"), "Debian has the Apache License");
    }
}
