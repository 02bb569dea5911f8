//! Documents show only command lines that the programs take.

use xtask::command_lines::{program, refused};

use super::Text;

pub(super) fn complaints(file: &Text) -> Vec<String> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let (prose, lines) = split(&file.text);
    let mut found: Vec<String> = prose.split('`').skip(1).step_by(2).filter_map(named).collect();
    for line in lines {
        found.extend(named(&line));
        found.extend(refused(&line));
    }
    found.into_iter().map(|complaint| format!("{}: {complaint}", file.path)).collect()
}

/// The text outside of code blocks, and the lines that code blocks show as typed.
fn split(text: &str) -> (String, Vec<String>) {
    let (mut prose, mut typed, mut in_block) = (String::new(), Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            prose.push_str(line);
            prose.push('\n');
        } else if let Some(line) = line.strip_prefix("$ ") {
            let line = line.split(" # ").next().unwrap_or(line);
            typed.push(line.trim_end().trim_end_matches('&').to_owned());
        }
    }
    (prose, typed)
}

/// A verb or flag of `line` that its program does not have; the line may be cut short.
fn named(line: &str) -> Option<String> {
    let (mut root, words) = program(line)?;
    root.build();
    let (mut command, mut flagged) = (&root, false);
    for word in words {
        let word = word.trim_matches(['[', ']']);
        if let Some(flag) = word.strip_prefix("--") {
            flagged = true;
            let flag = flag.split('=').next().unwrap_or(flag);
            let known = command.get_arguments().any(|a| a.get_long() == Some(flag));
            if !known {
                return Some(format!("`{line}`: {} has no `--{flag}`", command.get_name()));
            }
        } else if let Some(verb) = command.find_subcommand(word) {
            command = verb;
        } else if !flagged && command.has_subcommands() {
            return Some(format!("`{line}`: {} has no `{word}`", command.get_name()));
        }
    }
    None
}
