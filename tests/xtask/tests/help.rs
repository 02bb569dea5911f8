//! Help texts: pinned as they are read, and with examples that the programs take.

use clap::Command;
use xtask::{command_lines, program_commands};

/// Columns of the terminal that the pinned texts are wrapped for.
const COLUMNS: usize = 100;

/// Calls `look` with each command of a tree and with what is typed for it.
fn each(command: &mut Command, typed: &str, look: &mut impl FnMut(&mut Command, &str)) {
    look(command, typed);
    for verb in command.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
        let typed = format!("{typed} {}", verb.get_name());
        each(verb, &typed, look);
    }
}

fn built() -> impl Iterator<Item = (String, Command)> {
    program_commands().into_iter().map(|command| {
        let mut command = command.term_width(COLUMNS);
        command.build();
        (command.get_name().to_owned(), command)
    })
}

#[test]
fn every_help_text_is_as_it_was_read_last() {
    for (name, mut command) in built() {
        let mut pages = String::new();
        each(&mut command, &name, &mut |command, typed| {
            pages.push_str(&format!("$ {typed} --help\n{}\n", command.render_long_help()));
        });
        insta::assert_snapshot!(name, pages);
    }
}

/// The command lines among the examples of a help text, without the remark in parentheses that
/// may stand behind one.
fn examples(text: &str) -> Vec<String> {
    let Some((_, rest)) = text.split_once("Examples:\n") else { return Vec::new() };
    let block = rest.split("\n\n").next().unwrap_or(rest).replace("\\\n", " ");
    let lines = block.lines().map(|line| line.split("  (").next().unwrap_or(line));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_programs_take_every_example() {
    let (mut count, mut complaints) = (0, Vec::new());
    for (name, mut command) in built() {
        each(&mut command, &name, &mut |command, typed| {
            let text = command.get_after_long_help().or(command.get_after_help());
            for line in text.map_or(Vec::new(), |text| examples(&text.to_string())) {
                count += 1;
                let unknown = command_lines::program(&line).is_none();
                let unknown = unknown.then(|| format!("`{line}`: no program of ours"));
                let complaint = unknown.or_else(|| command_lines::refused(&line));
                complaints
                    .extend(complaint.map(|complaint| format!("{typed} --help: {complaint}")));
            }
        });
    }
    assert!(count > 10, "only {count} examples found");
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn examples_are_read_as_a_person_reads_them() {
    let text = "\nExamples:\n  payload verify a --json      (a remark)\n  payload build --out \\\n      b\n\
                \nExit code 3: no example.";
    assert_eq!(examples(text), ["payload verify a --json", "payload build --out        b"]);
    assert!(command_lines::refused("payload verify a --json").is_none());
    assert!(command_lines::refused("payload verify a --loud").is_some());
}
