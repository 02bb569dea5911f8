//! A control group around one command: how much memory it took, page cache
//! included, and how much processor time.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::BenchError;

/// The machine's control groups cannot count memory.
#[derive(Debug, thiserror::Error)]
#[error("no memory control group at {path}; mount cgroup v1's memory controller, or cgroup v2")]
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

/// The files of one hierarchy.
struct Hierarchy {
    root: PathBuf,
    peak: &'static str,
}

fn hierarchy() -> Hierarchy {
    let v1 = Path::new("/sys/fs/cgroup/memory");
    match v1.is_dir() {
        true => Hierarchy { root: v1.to_owned(), peak: "memory.max_usage_in_bytes" },
        false => Hierarchy { root: "/sys/fs/cgroup".into(), peak: "memory.peak" },
    }
}

/// A group that is removed when dropped.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever is left in it has been waited for; an empty group that stays
        // harms nobody.
        let _ = fs_err::remove_dir(&self.0);
    }
}

/// Runs `command` to its end in a group of its own.
pub(crate) fn measure(command: &[String]) -> Result<(Cost, Output), BenchError> {
    let hierarchy = hierarchy();
    let path = hierarchy.root.join(format!("seesaw-bench-{}-{}", std::process::id(), serial()));
    fs_err::create_dir(&path).map_err(|source| CgroupError { path: path.clone(), source })?;
    let group = Group(path);
    let cpu_before = children_cpu()?;
    let start = Instant::now();
    // The shell enters the group before it becomes the command.
    let output = Command::new("/bin/sh")
        .args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#])
        .arg(&group.0)
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
    let peak = group.0.join(hierarchy.peak);
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
