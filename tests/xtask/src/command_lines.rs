//! Command lines that documents and help texts show.

use clap::Command;

/// The program that a line names, ours, and the words that it gets.
pub fn program(line: &str) -> Option<(Command, Vec<&str>)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["cargo", "xtask", ref rest @ ..] => Some((crate::command(), rest.to_vec())),
        [name, ref rest @ ..] => {
            let mut commands = crate::program_commands().into_iter();
            Some((commands.find(|command| command.get_name() == name)?, rest.to_vec()))
        }
        [] => None,
    }
}

/// What the program says to a whole line that it does not take.
pub fn refused(line: &str) -> Option<String> {
    let (command, words) = program(line)?;
    let name = command.get_name().to_owned();
    let error = command.try_get_matches_from(std::iter::once(name.as_str()).chain(words)).err()?;
    error.use_stderr().then(|| format!("`{line}`: {error}"))
}
