//! The figures as a person reads them: Markdown that is also aligned, for a terminal.

use crate::figures::Spread;
use crate::rounds::{Contender, prefix};
use crate::{BenchError, Figures, Fill, delta};

pub(crate) const MIB: f64 = (1 << 20) as f64;

/// A part of what is measured, with a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A full install, and the pipeline beside it.
    Install,
    /// The programs as they are shipped.
    Programs,
    /// What the boot selector adds to a boot, beside systemd-boot.
    Boot,
    /// Deltas between real images, beside those of others.
    Delta,
}

impl Part {
    /// In the order in which they are shown.
    pub const ALL: [Part; 4] = [Part::Install, Part::Programs, Part::Boot, Part::Delta];

    /// The part that is called `name`.
    pub fn named(name: &str) -> Option<Part> {
        Part::ALL.into_iter().find(|part| part.name() == name)
    }

    /// What it is called on the command line and in documents.
    pub fn name(self) -> &'static str {
        match self {
            Part::Install => "install",
            Part::Programs => "programs",
            Part::Boot => "boot",
            Part::Delta => "delta",
        }
    }

    pub(crate) fn is_in(self, figures: &Figures) -> bool {
        match self {
            Part::Install => figures.has("install.wall_seconds"),
            Part::Programs => figures.has("device.crates"),
            Part::Boot => figures.has("boot.uki_bytes"),
            // Some pairs, or all.
            Part::Delta => figures.has_below("delta."),
        }
    }

    /// Its table, and what is to be known beside it.
    pub fn table(self, figures: &Figures) -> Result<String, BenchError> {
        match self {
            Part::Install => install(figures),
            Part::Programs => programs(figures),
            Part::Boot => boot(figures),
            Part::Delta => delta::table(figures),
        }
    }
}

/// The machine, and the tables of all parts that were measured.
pub fn tables(figures: &Figures) -> Result<String, BenchError> {
    let mut text = machine(figures)?;
    for part in Part::ALL.into_iter().filter(|part| part.is_in(figures)) {
        text += "\n";
        text += &part.table(figures)?;
    }
    Ok(text)
}

/// Machine and versions.
pub(crate) fn machine(figures: &Figures) -> Result<String, BenchError> {
    let load = figures.number("machine.load_average").map_or_else(
        |_| String::new(),
        |load| format!(", load average {load:.2} before the first round"),
    );
    Ok(format!(
        "{}, {} cores, Linux {}{load};\n{}.\n",
        figures.text("machine.processor")?,
        figures.number("machine.cores")?,
        figures.text("machine.kernel")?,
        figures.list("machine.tools")?,
    ))
}

fn install(figures: &Figures) -> Result<String, BenchError> {
    let (image, rounds) = (figures.number("install.image_bytes")?, figures.number("rounds")?);
    let bound = figures.number("throttled.bound_seconds")?;
    let [write, read] =
        ["write", "read"].map(|way| figures.number(&format!("throttled.{way}_bytes_per_second")));
    Ok(format!(
        "Full install of {:.0} MiB; `curl | zstd -d | dd`, RAUC {} and SWUpdate {}.\n{rounds} rounds by \
         turns; median (least - most).\n\nAn image full of files:\n\n{}\nAn image of which every other \
         8 MiB are zeroes:\n\n{}\nOn a disk that writes {:.0} and reads {:.0} MB/s (cgroup throttle), the \
         image full of files: {} s,\n**{}** of the {bound:.2} s that writing it and then reading it take.\n",
        image / MIB,
        figures.text("rauc.version")?,
        figures.text("swupdate.version")?,
        installs(figures, Fill::Dense)?,
        installs(figures, Fill::HalfEmpty)?,
        write? / 1e6,
        read? / 1e6,
        cell(figures.spread("throttled.install.wall_seconds")?),
        cell(figures.spread("throttled.install.ratio_bound")?),
    ))
}

fn installs(figures: &Figures, fill: Fill) -> Result<String, BenchError> {
    let measures = [
        ("wall, s", "wall_seconds", 1.0),
        ("processor, s", "cpu_seconds", 1.0),
        ("memory peak, MiB", "memory_peak_bytes", MIB),
        ("on the wire, MiB", "wire_bytes", MIB),
        ("written / image", "target_write_ratio", 1.0),
    ];
    let prefix = prefix(fill);
    let mut rows = vec![["", "seesaw", "pipeline", "RAUC", "SWUpdate"].map(str::to_owned)];
    let mut add = |name: &str, of: &dyn Fn(Contender) -> Result<String, BenchError>| {
        let [ours, pipeline, rauc, swupdate] = Contender::ALL.map(of);
        rows.push([name.to_owned(), ours?, pipeline?, rauc?, swupdate?]);
        Ok::<_, BenchError>(())
    };
    for (name, key, unit) in measures {
        add(name, &|contender| {
            let spread = figures.spread(&format!("{prefix}{}.{key}", contender.key()))?;
            Ok(cell(spread.scaled(1.0 / unit)))
        })?;
    }
    add("time, seesaw / this", &|contender| match contender {
        Contender::Seesaw => Ok(String::new()),
        other => {
            let ratio = figures.spread(&format!("{prefix}install.ratio_{}", other.key()))?;
            Ok(format!("**{}**", cell(ratio)))
        }
    })?;
    Ok(table(&rows))
}

fn programs(figures: &Figures) -> Result<String, BenchError> {
    let mut rows = vec![["release build, stripped", "MiB", "start, ms"].map(str::to_owned)];
    for program in ["update-agent", "updatectl", "update-server", "payload"] {
        let key = program.replace('-', "_");
        let mib = figures.number(&format!("binary.{key}.bytes"))? / MIB;
        let start = figures.spread(&format!("binary.{key}.start_seconds"))?.scaled(1000.0);
        rows.push([program.to_owned(), format!("{mib:.2}"), cell(start)]);
    }
    let crates = figures.number("device.crates")?;
    Ok(format!(
        "{}\nStart: `--version`, until the process has ended. Crates of update-agent and updatectl \
         together: {crates}.\n",
        table(&rows)
    ))
}

fn boot(figures: &Figures) -> Result<String, BenchError> {
    let size = figures.number("boot.uki_bytes")? / MIB;
    let rounds = figures.number("boot.rounds")?;
    let ratio = figures.spread("boot.ratio_systemd_boot")?;
    let version = figures.text("boot.systemd_boot.version")?;
    let mut rows = vec![
        ["started by", "until the UKI runs, ms", "added instructions, million"].map(str::to_owned),
    ];
    let starters = [
        ("the firmware alone".to_owned(), "firmware"),
        (format!("systemd-boot {version}"), "systemd_boot"),
        ("the boot selector".to_owned(), "selector"),
    ];
    for (name, key) in starters {
        let wall = figures.spread(&format!("boot.{key}.wall_seconds"))?.scaled(1e3);
        let added = figures.spread(&format!("boot.{key}.added_instructions"))?.scaled(1e-6);
        let added = if key == "firmware" { String::new() } else { cell(added) };
        rows.push([name, cell(wall), added]);
    }
    Ok(format!(
        "A UKI of {size:.0} MiB in QEMU's emulation, without KVM; {rounds} rounds by turns; median \
         (least - most).\n\n{}\nTime, selector / systemd-boot: **{}**.\n",
        table(&rows),
        cell(ratio),
    ))
}

pub(crate) fn cell(Spread { median, least, most }: Spread) -> String {
    let [median, least, most] = [median, least, most].map(|value| format!("{value:.2}"));
    if least == most { median } else { format!("{median} ({least} - {most})") }
}

/// Rows of the same length, the first one the head.
pub(crate) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| width(column).unwrap_or(0).max(3));
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("| {cell:<width$} "));
        text += &cells.collect::<String>();
        text += "|\n";
        if index == 0 {
            text += &widths.map(|width| format!("| {:-<width$} ", "")).concat();
            text += "|\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_markdown_and_aligned() {
        let rows = [["a", "longer"], ["bb", "c"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "| a   | longer |\n| --- | ------ |\n| bb  | c      |\n");
    }

    #[test]
    fn a_spread_that_is_none_is_not_shown() {
        let cells = [(1.0, 3.0), (1.996, 2.004)]
            .map(|(least, most)| cell(Spread { median: 2.0, least, most }));
        assert_eq!(cells, ["2.00 (1.00 - 3.00)", "2.00"]);
    }

    #[test]
    fn a_part_that_was_not_measured_is_left_out_and_one_measured_by_half_is_refused() {
        let mut figures = Figures::default();
        crate::name_machine(&mut figures);
        let text = tables(&figures).unwrap();
        assert!(text.contains("load average") && !text.contains('|'), "{text}");
        figures.set("device.crates", 186);
        let error = tables(&figures).unwrap_err();
        assert!(error.to_string().contains("binary.update_agent.bytes"), "{error}");
    }
}
