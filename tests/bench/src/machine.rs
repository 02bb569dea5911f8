//! The machine that the figures are of, and the programs of others that it has.

use std::process::Command;

use crate::Figures;

/// Peers, and what runs the boots.
const TOOLS: [&str; 4] = ["curl", "zstd", "dd", "qemu-system-x86_64"];

/// Names this machine. Its load is that of the moment: call it before there is any of ours.
pub fn name_machine(figures: &mut Figures) {
    let info = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    figures.set("machine.processor", processor.unwrap_or("unknown processor"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    figures.set("machine.cores", cores);
    let uname = rustix::system::uname();
    figures.set("machine.kernel", &*uname.release().to_string_lossy());
    let load = fs_err::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|minute| minute.parse::<f64>().ok());
    figures.set("machine.load_average", load);
    let tools: Vec<String> = TOOLS.iter().filter_map(|tool| version(tool)).collect();
    figures.set("machine.tools", tools);
}

/// Name and version of a program, if it is there.
pub(crate) fn version(tool: &str) -> Option<String> {
    let output = Command::new(tool).arg("--version").output().ok()?;
    Some(format!("{tool} {}", version_in(&String::from_utf8_lossy(&output.stdout))?))
}

/// The first word of a `--version` that is a number.
fn version_in(text: &str) -> Option<&str> {
    let words = text.split_whitespace().map(|word| word.trim_matches(['v', ',']));
    words.into_iter().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        let cases = [
            ("curl 7.88.1 (x86_64-pc-linux-gnu)", Some("7.88.1")),
            ("*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***", Some("1.5.4")),
            ("dd (coreutils) 9.1", Some("9.1")),
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", Some("7.2.22")),
            ("none", None),
        ];
        for (text, version) in cases {
            assert_eq!(version_in(text), version, "{text}");
        }
    }

    #[test]
    fn a_machine_has_a_name_cores_and_a_load() {
        let mut figures = Figures::default();
        name_machine(&mut figures);
        assert!(figures.number("machine.cores").unwrap() >= 1.0);
        assert!(figures.number("machine.load_average").unwrap() >= 0.0);
        assert!(!figures.text("machine.processor").unwrap().is_empty());
        assert!(figures.list("machine.tools").unwrap().contains("dd "));
    }
}
