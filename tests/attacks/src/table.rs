//! The tables of docs/threat-model.md, made of the fixtures.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::fixture::{Attack, FixtureError, Step, Target, attack, names};

/// Where the tables begin in the document.
pub const BEGIN: &str = "<!-- attacks:begin -->\n";
/// Where they end.
pub const END: &str = "<!-- attacks:end -->";

/// The document.
pub fn document() -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    checkout.unwrap_or(Path::new(".")).join("docs/threat-model.md")
}

/// Both tables.
///
/// # Errors
/// When a fixture cannot be read.
pub fn tables() -> Result<String, FixtureError> {
    let attacks =
        names()?.iter().map(|name| attack(name)).collect::<Result<Vec<Attack>, FixtureError>>()?;
    let mut text = "| attack | who attacks holds | what remains possible |\n".to_owned();
    text += "| --- | --- | --- |\n";
    // Writing to a string does not fail.
    for Attack { title, holds, remains, .. } in &attacks {
        let _ = writeln!(text, "| {title} | {holds} | {remains} |");
    }
    text += "\n| attack | what is done | the device says | exit status | its other slot | it waits and takes at most |\n";
    text += "| --- | --- | --- | --- | --- | --- |\n";
    for Attack { title, steps, .. } in &attacks {
        for step in steps {
            let Some(done) = &step.attack else { continue };
            let Step { shows, exit, .. } = step;
            let (slot, most) = (slot(step.target), most(step));
            let _ = writeln!(text, "| {title} | {done} | {shows} | {exit} | {slot} | {most} |");
        }
    }
    Ok(text)
}

/// The document with these tables in the place of its own; nothing if it has no place for them.
pub fn replaced(document: &str, tables: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{tables}{END}{after}"))
}

/// Writes the tables into the document.
///
/// # Errors
/// When a fixture or the document cannot be read, or the document has no place for them.
pub fn regenerate() -> Result<(), FixtureError> {
    let path = document();
    let text = fs::read_to_string(&path)?;
    let Some(text) = replaced(&text, &tables()?) else {
        let missing = format!("{} lacks the lines {BEGIN}and {END}", path.display());
        return Err(std::io::Error::other(missing).into());
    };
    Ok(fs::write(path, text)?)
}

fn slot(target: Target) -> &'static str {
    match target {
        Target::Untouched => "not written",
        Target::Unbootable => "cannot be started",
        Target::Activated => "is tried",
    }
}

fn most(step: &Step) -> String {
    let Step { requests, bytes, timeouts, .. } = step;
    let waits = match timeouts {
        0 => "",
        1 => "a time-out, ",
        _ => "time-outs, ",
    };
    format!("{waits}{requests} requests, {} KiB", bytes.div_ceil(1024))
}
