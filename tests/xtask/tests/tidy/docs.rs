//! Documents name only files, folders and headings that are there; so do comments.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{Text, Tree};

/// Backticked names with a slash and one of these endings are files of this tree.
const OURS: [&str; 6] = [".rs", ".toml", ".md", ".sh", ".sql", ".snap"];

pub(super) fn complaints(file: &Text, tree: &Tree) -> Vec<String> {
    let named = match Path::new(&file.path).extension().and_then(|extension| extension.to_str()) {
        Some("md") => [paths(&file.text, tree), backticked(&file.text), links(file)].concat(),
        Some("rs") => paths(&comments(&file.text), tree),
        _ => Vec::new(),
    };
    let missing: BTreeSet<_> =
        named.into_iter().filter(|path| !tree.paths.contains(path)).collect();
    let mut complaints: Vec<_> = missing
        .iter()
        .map(|gone| format!("{} names {gone}, which is not there", file.path))
        .collect();
    if file.path.ends_with(".md") {
        complaints.extend(headings(file, tree));
    }
    complaints
}

/// Words that begin with a folder of the tree.
fn paths(text: &str, tree: &Tree) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || "/._-*".contains(c)));
    let words = words.map(|word| word.trim_end_matches(['.', '/']));
    let ours = words.filter(|word| {
        word.split_once('/').is_some_and(|(first, _)| tree.paths.contains(first))
            && !word.contains('*')
    });
    ours.map(str::to_owned).collect()
}

fn backticked(text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2);
    let ours = spans.filter(|span| {
        let whole = !span.starts_with('/') && !span.contains([' ', '*', '<', '{', '\n']);
        whole && span.contains('/') && OURS.iter().any(|ending| span.ends_with(ending))
    });
    ours.map(str::to_owned).collect()
}

fn comments(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What `](…)` points at, without other sites.
fn targets(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let here = targets.filter(|target| !target.contains("://"));
    here.map(|target| target.split_once('#').map_or((target, None), |(path, id)| (path, Some(id))))
}

fn links(file: &Text) -> Vec<String> {
    let paths = targets(&file.text).filter(|(path, _)| !path.is_empty());
    paths.map(|(path, _)| beside(&file.path, path)).collect()
}

/// A path relative to the folder of `file`, as one of the tree.
fn beside(file: &str, path: &str) -> String {
    let mut whole = PathBuf::from(file);
    whole.pop();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            part => whole.push(part),
        }
    }
    whole.to_string_lossy().into_owned()
}

fn headings(file: &Text, tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, id) in targets(&file.text) {
        let target = if path.is_empty() { file.path.clone() } else { beside(&file.path, path) };
        let (Some(id), Some(text)) = (id, tree.text(&target)) else { continue };
        let lines = text.lines().filter(|line| line.starts_with('#'));
        if !lines.map(|line| slug(line.trim_start_matches('#').trim())).any(|slug| slug == id) {
            complaints.push(format!("{} links {path}#{id}, which is no heading", file.path));
        }
    }
    complaints
}

/// The id that a heading gets.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}
