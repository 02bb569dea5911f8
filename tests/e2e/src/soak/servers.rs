use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};

use super::FastClock;
use crate::command::Failure;

/// Processes that serve one data folder at once.
#[derive(Debug)]
pub struct Servers {
    program: PathBuf,
    data: PathBuf,
    folder: PathBuf,
    clock: FastClock,
    running: Mutex<Vec<Child>>,
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in self.lock().iter_mut() {
            // Ended or not, it is gone afterwards; a stopped process too.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Servers {
    /// Starts `count` of them; what they say goes into `folder`.
    pub fn start(
        program: PathBuf,
        data: PathBuf,
        folder: PathBuf,
        clock: FastClock,
        count: usize,
    ) -> Result<Self, Failure> {
        let servers = Self { program, data, folder, clock, running: Mutex::default() };
        for index in 0..count {
            let child = servers.spawn(index)?;
            servers.lock().push(child);
        }
        Ok(servers)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address_file(&self, index: usize) -> PathBuf {
        self.folder.join(format!("address-{index}"))
    }

    fn spawn(&self, index: usize) -> Result<Child, Failure> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("server-{index}.log")))?;
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(&self.data).arg("--announce").arg(self.address_file(index));
        command.args(["--clock", &self.clock.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.into_file());
        command.spawn().map_err(|source| Failure::Start {
            command: self.program.display().to_string(),
            source,
        })
    }

    /// Where one listens, or listened before it was killed; nothing while it starts for the first time.
    pub fn address(&self, index: usize) -> Option<String> {
        let text = fs::read_to_string(self.address_file(index)).ok()?;
        Some(text.trim().to_owned())
    }

    /// Kills one and starts another in its place. An error if it had ended by itself.
    pub fn replace(&self, index: usize) -> Result<(), Failure> {
        let mut running = self.lock();
        self.refuse_ended(index, &mut running[index])?;
        running[index].kill()?;
        running[index].wait()?;
        running[index] = self.spawn(index)?;
        Ok(())
    }

    /// Stops one, or lets it go on.
    pub fn signal(&self, index: usize, signal: Signal) -> Result<(), Failure> {
        let mut running = self.lock();
        self.refuse_ended(index, &mut running[index])?;
        let pid = i32::try_from(running[index].id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| std::io::Error::other("a process id out of range"))?;
        kill_process(pid, signal).map_err(|errno| Failure::File(errno.into()))
    }

    fn refuse_ended(&self, index: usize, child: &mut Child) -> Result<(), Failure> {
        let Some(status) = child.try_wait()? else { return Ok(()) };
        let output = fs::read_to_string(self.folder.join(format!("server-{index}.log")))?;
        let command = self.program.display().to_string();
        Err(Failure::Ended { command, status: status.to_string(), output })
    }
}
