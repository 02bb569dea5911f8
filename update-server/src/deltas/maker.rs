//! The server's side of the process that makes a delta.

use std::io;
use std::num::NonZero;
use std::path::{Path, absolute};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::DeltaBudget;
use super::child::{self, Job};
use super::wanted::Wanted;
use crate::names::Hash;
use crate::payloads::{DeltaFault, Incoming, PayloadFolder, UploadError};

/// A process that takes longer hangs, or is kept stopped.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Bytes that it may say.
const SAID_MAX: u64 = 64 << 10;

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
    let scratch = payloads.scratch()?;
    let paths = [payloads.root(), incoming.path(), scratch.path()];
    let job = job(paths, budget.memory_bytes, threads, wanted)?;
    let mut child = start()?;
    // Held until the end: the process ends when it is closed.
    let mut told = child.stdin.take().ok_or(io::Error::from(io::ErrorKind::BrokenPipe))?;
    told.write_all(format!("{}\n", serde_json::to_string(&job)?).as_bytes()).await?;
    let ended = tokio::time::timeout(TIME_MAX, end(&mut child)).await;
    let (status, said) = ended.map_err(|_| MakeFailure::Hangs)??;
    drop(told);
    if !status.success() {
        let said = String::from_utf8_lossy(&said);
        let said = said.lines().last().unwrap_or("nothing").chars().take(500).collect();
        return Err(MakeFailure::Ended { status, said });
    }
    incoming.check_delta(&wanted.from.root, &wanted.to.root).await?;
    let (bytes, sha256) = incoming.measure().await.map_err(DeltaFault::from)?;
    Ok(Made { incoming, bytes, sha256 })
}

/// How it ends, and what it says: not more than is worth keeping, whoever runs in it.
async fn end(child: &mut Child) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // Closed behind that, so that it waits for nobody who reads on.
        stderr.take(SAID_MAX).read_to_end(&mut said).await?;
    }
    Ok((child.wait().await?, said))
}

/// What the process is told. It works in another folder than the server: no path of its is relative.
fn job(
    paths: [&Path; 3],
    memory_bytes: u64,
    threads: NonZero<usize>,
    Wanted { from, to, .. }: &Wanted,
) -> io::Result<Job> {
    let [payloads, out, scratch] = paths.map(absolute);
    let (payloads, out, scratch) = (payloads?, out?, scratch?);
    let (from, to) = (from.clone(), to.clone());
    Ok(Job { payloads, out, scratch, from, to, threads, memory_bytes })
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
    use std::os::unix::process::ExitStatusExt;

    use payload_tools::format::{Image, Role, Salt};

    use super::super::wanted::Between;
    use super::*;

    #[tokio::test]
    async fn a_process_that_talks_without_end_is_not_listened_to() {
        let mut yes = Command::new("sh");
        yes.args(["-c", "exec yes >&2"]).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = yes.spawn().unwrap();
        let (status, said) = end(&mut child).await.unwrap();
        assert_eq!((said.len() as u64, status.signal()), (SAID_MAX, Some(libc::SIGPIPE)));
    }

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
        let paths = ["server/payloads", "server/payloads/in/a", "server/payloads/in/b"];
        let job = job(paths.map(Path::new), 1, NonZero::<usize>::MIN, &wanted).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!([job.payloads, job.out, job.scratch], paths.map(|path| here.join(path)));
    }
}
