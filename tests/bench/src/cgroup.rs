//! A control group around one command: how much memory it took, page cache
//! included, how much processor time, and, if that is asked for, how fast its disk is.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::BenchError;

/// The machine's control groups cannot count memory, or slow a disk down.
#[derive(Debug, thiserror::Error)]
#[error("{path} is of no use; mount cgroup v1's memory and blkio controllers, or cgroup v2")]
pub struct CgroupError {
    path: PathBuf,
    source: std::io::Error,
}

/// What a command cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub wall: Duration,
    pub cpu: Duration,
    pub memory_peak_bytes: u64,
}

/// How fast a device is for a command at most.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    /// Its number, `MAJOR:MINOR`.
    pub device: String,
    pub read_bytes_per_second: u64,
    pub write_bytes_per_second: u64,
}

impl Throttle {
    /// Files of a group and what is written to them: those of cgroup v1's blkio controller, or v2's.
    fn settings(&self, is_v1: bool) -> Vec<(&'static str, String)> {
        let Self { device, read_bytes_per_second: read, write_bytes_per_second: write } = self;
        match is_v1 {
            true => vec![
                ("blkio.throttle.read_bps_device", format!("{device} {read}")),
                ("blkio.throttle.write_bps_device", format!("{device} {write}")),
            ],
            false => vec![("io.max", format!("{device} rbps={read} wbps={write}"))],
        }
    }
}

const V1: &str = "/sys/fs/cgroup/memory";
const V1_IO: &str = "/sys/fs/cgroup/blkio";
const V2: &str = "/sys/fs/cgroup";

/// A group that is removed when dropped.
struct Group(PathBuf);

impl Group {
    fn create(root: &str) -> Result<Self, CgroupError> {
        let name = format!("seesaw-bench-{}-{}", std::process::id(), serial());
        let path = Path::new(root).join(name);
        let made = fs_err::create_dir(&path);
        made.map(|()| Group(path.clone())).map_err(|source| CgroupError { path, source })
    }

    fn set(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        let path = self.0.join(file);
        fs_err::write(&path, value).map_err(|source| CgroupError { path, source })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever is left in it has been waited for; an empty group that stays
        // harms nobody.
        let _ = fs_err::remove_dir(&self.0);
    }
}

/// Runs `command` to its end in a group of its own.
pub(crate) fn measure(command: &[String]) -> Result<(Cost, Output), BenchError> {
    measure_throttled(command, None)
}

/// The same with a slower disk.
pub(crate) fn measure_throttled(
    command: &[String],
    throttle: Option<&Throttle>,
) -> Result<(Cost, Output), BenchError> {
    let is_v1 = Path::new(V1).is_dir();
    let group = Group::create(if is_v1 { V1 } else { V2 })?;
    let slow = throttle.filter(|_| is_v1).map(|_| Group::create(V1_IO)).transpose()?;
    for (file, value) in throttle.iter().flat_map(|throttle| throttle.settings(is_v1)) {
        slow.as_ref().unwrap_or(&group).set(file, &value)?;
    }
    let cpu_before = children_cpu()?;
    let start = Instant::now();
    // The shell enters its groups before it becomes the command.
    let output = Command::new("/bin/sh")
        .args([
            "-c",
            r#"for g in "$0" "$1"; do echo $$ > "$g/cgroup.procs" || exit 1; done; shift; exec "$@""#,
        ])
        .arg(&group.0)
        .arg(&slow.as_ref().unwrap_or(&group).0)
        .args(command)
        .output()
        .map_err(crate::at("start a command"))?;
    let wall = start.elapsed();
    if !output.status.success() {
        return Err(BenchError::Program {
            program: command.join(" "),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let peak = group.0.join(if is_v1 { "memory.max_usage_in_bytes" } else { "memory.peak" });
    let text = fs_err::read_to_string(&peak)
        .map_err(|source| CgroupError { path: peak.clone(), source })?;
    let memory_peak_bytes = text
        .trim()
        .parse()
        .map_err(|error| CgroupError { path: peak, source: std::io::Error::other(error) })?;
    let cpu = children_cpu()?.saturating_sub(cpu_before);
    Ok((Cost { wall, cpu, memory_peak_bytes }, output))
}

fn serial() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Processor time of all children that were waited for, and theirs, to 10 ms
/// (proc(5), cutime and cstime).
fn children_cpu() -> Result<Duration, BenchError> {
    let step = "read /proc/self/stat";
    let stat = fs_err::read_to_string("/proc/self/stat").map_err(crate::at(step))?;
    // The name in parentheses may hold anything; field 3 follows it.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    let (user, system) = ticks(16)
        .zip(ticks(17))
        .ok_or_else(|| crate::at(step)(std::io::ErrorKind::InvalidData.into()))?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis((user + system) * 1000 / per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_control_groups_are_told_the_same() {
        let throttle = Throttle {
            device: "7:3".to_owned(),
            read_bytes_per_second: 200,
            write_bytes_per_second: 100,
        };
        let expected = [
            ("blkio.throttle.read_bps_device", "7:3 200".to_owned()),
            ("blkio.throttle.write_bps_device", "7:3 100".to_owned()),
        ];
        assert_eq!(throttle.settings(true), expected);
        assert_eq!(throttle.settings(false), [("io.max", "7:3 rbps=200 wbps=100".to_owned())]);
    }
}
