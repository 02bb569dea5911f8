//! What programs say, without what differs from run to run.

use std::path::Path;
use std::process::Output;

/// Exit status and what `updatectl` says, in one line.
pub fn of_updatectl(output: &Output, folder: &Path) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    // Beside the words about what it is doing, which depend on how fast it does it.
    let err = err.lines().filter(|line| line.starts_with("updatectl: ") && !line.contains("slot "));
    let told = out.lines().chain(err).collect::<Vec<_>>().join(" | ");
    format!("{} {}", output.status.code().unwrap_or(-1), constant(&told, folder))
}

/// A text without the name of a temporary folder (with the `/` at its end), checksums, hashes, times and ports; which image
/// was first differs too.
pub fn constant(text: &str, folder: &Path) -> String {
    let text = text.replace(&folder.display().to_string(), "");
    let text = text.replace("kernel image", "IMAGE").replace("root image", "IMAGE");
    let digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    let (mut told, mut rest) = (String::new(), text.as_str());
    while let Some(start) = rest.find(digit) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !digit(c)).unwrap_or(from.len());
        told += before;
        let port = told.ends_with("127.0.0.1:");
        told += if end >= 8 || port { "#" } else { &from[..end] };
        rest = &from[end..];
    }
    told + rest
}
