//! Executables that run around the steps of an update, in the order of their
//! names, all of one moment within one deadline. They are told what happens and
//! decide nothing: one that fails or hangs is logged, and the step goes on.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fs_err as fs;
use tokio::process::Command;
use tracing::warn;

use crate::config::HookSettings;
use crate::update::{HookMoment, Life};

/// The folder of a moment, below each of the configured folders.
pub fn folder_of(moment: HookMoment) -> &'static str {
    match moment {
        HookMoment::PostActivate => "post-activate",
        HookMoment::PreReboot => "pre-reboot",
        HookMoment::PostConfirm => "post-confirm",
        HookMoment::PostFallback => "post-fallback",
    }
}

/// Runs the hooks of a moment.
pub async fn run(settings: &HookSettings, moment: HookMoment, life: &Life) {
    let all = async {
        for folder in &settings.folders {
            let folder = folder.join(folder_of(moment));
            for hook in executables(&folder).unwrap_or_else(|error| {
                warn!("hooks are skipped: {error}");
                Vec::new()
            }) {
                run_one(&hook, moment, life).await;
            }
        }
    };
    if tokio::time::timeout(settings.deadline, all).await.is_err() {
        warn!(
            "the {} hooks took longer than {:?} and were ended",
            folder_of(moment),
            settings.deadline
        );
    }
}

async fn run_one(hook: &Path, moment: HookMoment, life: &Life) {
    let to = life.phase.change().and_then(|change| change.to.as_ref());
    let status = Command::new(hook)
        .env("SEESAW_MOMENT", folder_of(moment))
        .env("SEESAW_PHASE", life.phase.name())
        .env("SEESAW_RELEASE", to.map_or("", |named| named.release.as_str()))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => warn!("hook {} ended with {status}", hook.display()),
        Err(error) => warn!("hook {} did not start: {error}", hook.display()),
    }
}

fn executables(folder: &Path) -> io::Result<Vec<PathBuf>> {
    use std::os::unix::fs::PermissionsExt;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut hooks = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let metadata = fs::metadata(&path)?;
        if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            hooks.push(path);
        }
    }
    hooks.sort();
    Ok(hooks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn hook(folder: &Path, name: &str, text: &str, mode: u32) {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn hooks_run_in_order_and_a_bad_one_stops_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("pre-reboot");
        std::fs::create_dir(&folder).unwrap();
        let log = root.path().join("log");
        let say = |word: &str| format!("echo {word} $SEESAW_MOMENT >> {}", log.display());
        hook(&folder, "20-two", &say("two"), 0o755);
        hook(&folder, "10-one", &format!("{}; exit 3", say("one")), 0o755);
        hook(&folder, "30-not-executable", &say("three"), 0o644);
        let settings = HookSettings {
            folders: vec![root.path().to_owned()],
            deadline: Duration::from_secs(20),
        };
        run(&settings, HookMoment::PreReboot, &Life::new("boot")).await;
        let written = std::fs::read_to_string(log).unwrap();
        assert_eq!(written, "one pre-reboot\ntwo pre-reboot\n");
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_ended() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("post-confirm");
        std::fs::create_dir(&folder).unwrap();
        let pid = root.path().join("pid");
        hook(&folder, "hang", &format!("echo $$ > {}; exec sleep 600", pid.display()), 0o755);
        let settings = HookSettings {
            folders: vec![root.path().to_owned()],
            deadline: Duration::from_secs(3),
        };
        let began = std::time::Instant::now();
        run(&settings, HookMoment::PostConfirm, &Life::new("boot")).await;
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let pid = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        assert!(ends(pid), "the hook still runs");
    }

    /// Waits for the end of a process that was told to end.
    fn ends(pid: i32) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        // It may be gone and reaped by now.
        let Ok(process) = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) else {
            return true;
        };
        let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        poll(&mut ended, Some(&patience)).unwrap() == 1
    }
}
