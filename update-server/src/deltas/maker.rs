//! The server's side of the process that makes a delta.

use std::io;
use std::num::NonZero;
use std::path::{Path, absolute};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::DeltaBudget;
use super::child::{self, Job};
use super::wanted::Wanted;
use crate::names::Hash;
use crate::payloads::{DeltaFault, Incoming, PayloadFolder, UploadError};

/// A process that takes longer hangs, or is kept stopped.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// A delta that was made, not yet under its name.
#[derive(Debug)]
pub struct Made {
    /// The file.
    pub incoming: Incoming,
    /// Its bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: Hash,
}

/// Why none was made.
#[derive(Debug, thiserror::Error)]
pub enum MakeFailure {
    /// There is no process to make it.
    #[error("the process that makes it cannot be run")]
    Run(#[from] io::Error),
    /// The job has no words.
    #[error("the job cannot be encoded")]
    Encode(#[from] serde_json::Error),
    /// The process failed, was killed, or had no memory.
    #[error("the process that makes it ended with {status}: {said}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last that it said.
        said: String,
    },
    /// The process did not end.
    #[error("the process that makes it did not end within a day")]
    Hangs,
    /// There is no room for it.
    #[error(transparent)]
    Room(#[from] UploadError),
    /// What was made is none.
    #[error("what was made is not such a delta")]
    Fault(#[from] DeltaFault),
}

/// Makes a delta in a process of its own. Dropped, it takes the process with it.
pub async fn make(
    payloads: &PayloadFolder,
    budget: &DeltaBudget,
    threads: NonZero<usize>,
    wanted: &Wanted,
) -> Result<Made, MakeFailure> {
    let mut incoming = payloads.receive().await?;
    let job = job((payloads.root(), incoming.path()), budget.memory_bytes, threads, wanted)?;
    let mut child = start()?;
    // Held until the end: the process ends when it is closed.
    let mut told = child.stdin.take().ok_or(io::Error::from(io::ErrorKind::BrokenPipe))?;
    told.write_all(format!("{}\n", serde_json::to_string(&job)?).as_bytes()).await?;
    let ended = tokio::time::timeout(TIME_MAX, child.wait_with_output()).await;
    let ended = ended.map_err(|_| MakeFailure::Hangs)??;
    drop(told);
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = said.lines().last().unwrap_or("nothing").chars().take(500).collect();
        return Err(MakeFailure::Ended { status: ended.status, said });
    }
    incoming.check_delta(&wanted.from.root, &wanted.to.root).await?;
    let (bytes, sha256) = incoming.measure().await.map_err(DeltaFault::from)?;
    Ok(Made { incoming, bytes, sha256 })
}

/// What the process is told. It works in another folder than the server: no path of its is relative.
fn job(
    (payloads, out): (&Path, &Path),
    memory_bytes: u64,
    threads: NonZero<usize>,
    Wanted { from, to, .. }: &Wanted,
) -> io::Result<Job> {
    let (payloads, out) = (absolute(payloads)?, absolute(out)?);
    Ok(Job { payloads, out, from: from.clone(), to: to.clone(), threads, memory_bytes })
}

/// Starts this program again, to read and write only when nobody else does. Where there is no ionice the
/// lowest niceness, which the process takes by itself, has to do for that too.
fn start() -> io::Result<Child> {
    // Not this file's name, which may be another program's by now.
    let program = format!("/proc/{}/exe", std::process::id());
    let spawn = |mut command: Command| {
        command.arg(child::ARGUMENT).current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
    };
    let mut idle = Command::new("ionice");
    idle.args(["--class", "idle", &program]);
    match spawn(idle) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => spawn(Command::new(program)),
        started => started,
    }
}

#[cfg(test)]
mod tests {
    use payload_tools::format::{Image, Role, Salt};

    use super::super::wanted::Between;
    use super::*;

    #[test]
    fn a_data_folder_that_was_typed_relative_is_found_from_anywhere() {
        let image = |name: u8| Image {
            role: Role::Root,
            size: 4096,
            salt: Salt::default(),
            root: Hash::from_bytes([name; 32]),
        };
        let release = |name: &str| name.parse().unwrap();
        let between = Between {
            compatible: "demo-x86_64".parse().unwrap(),
            from: release("1"),
            to: release("2"),
        };
        let wanted = Wanted { from: image(1), to: image(2), devices: 1, between };
        let (payloads, out) = (Path::new("server/payloads"), Path::new("server/payloads/in/a"));
        let job = job((payloads, out), 1, NonZero::<usize>::MIN, &wanted).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!((job.payloads, job.out), (here.join(payloads), here.join(out)));
    }
}
