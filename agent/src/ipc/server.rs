use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{LINE_MAX, Reply, Request};
use crate::status::{StageProgress, Status};
use crate::update::driver::Letter;
use crate::update::{Answer, Command};

/// Connections at a time of users who may not command. Each costs a descriptor,
/// of which a trial that is being checked needs some too.
const GUESTS_MAX: usize = 32;
const PATIENCE: Duration = Duration::from_secs(5);
/// After a connection that could not be accepted: descriptors may come back.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Who is at the other end.
enum Peer {
    /// Root, or the user of this program.
    Master,
    /// Anyone else, in one of the places for them.
    Guest { _place: OwnedSemaphorePermit },
}

/// What a connection speaks for.
#[derive(Clone)]
struct Desk {
    mailbox: mpsc::UnboundedSender<Letter>,
    status: watch::Receiver<Status>,
    progress: watch::Receiver<Option<StageProgress>>,
    /// How long a peer may take to ask, and a guest to read the answer.
    patience: Duration,
}

/// Listens on `path` for as long as the program runs. Anyone may ask for the
/// status; commands are taken from root and from the user of this program.
///
/// # Errors
/// The socket cannot be made.
pub fn serve(
    path: &Path,
    mailbox: mpsc::UnboundedSender<Letter>,
    status: watch::Receiver<Status>,
    progress: watch::Receiver<Option<StageProgress>>,
) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // The device is locked, so no other agent runs and this one is left over.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
    let desk = Desk { mailbox, status, progress, patience: PATIENCE };
    tokio::spawn(desk.serve(listener));
    Ok(())
}

/// Whom a connection is from; `None`: a guest for whom there is no place.
fn admit(user: u32, places: &Arc<Semaphore>) -> Option<Peer> {
    if user == 0 || user == rustix::process::geteuid().as_raw() {
        return Some(Peer::Master);
    }
    places.clone().try_acquire_owned().ok().map(|place| Peer::Guest { _place: place })
}

impl Desk {
    async fn serve(self, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(GUESTS_MAX));
        loop {
            let accepted = listener.accept().await;
            match accepted.and_then(|(stream, _)| Ok((stream.peer_cred()?.uid(), stream))) {
                Ok((user, stream)) => match admit(user, &places) {
                    Some(peer) => drop(tokio::spawn(self.clone().talk(stream, peer))),
                    None => debug!("{GUESTS_MAX} connections are open, one more is closed"),
                },
                Err(error) => {
                    warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn talk(self, stream: UnixStream, peer: Peer) {
        let (read, mut write) = stream.into_split();
        let mut line = String::new();
        let mut bounded = BufReader::new(read.take(LINE_MAX));
        let result = match timeout(self.patience, bounded.read_line(&mut line)).await {
            Ok(Ok(_)) => self.answer(&line, &peer, &mut write).await,
            Ok(Err(error)) => Err(error),
            Err(late) => Err(late.into()),
        };
        // The peer went away, sends no text or takes its time: its loss.
        if let Err(error) = result {
            debug!("a connection ended: {error}");
        }
    }

    async fn answer(self, line: &str, peer: &Peer, write: &mut OwnedWriteHalf) -> io::Result<()> {
        let reply = match (serde_json::from_str::<Request>(line), peer) {
            (Ok(Request::Command { command }), Peer::Master) => {
                return self.command(command, write).await;
            }
            (Ok(Request::Command { .. }), Peer::Guest { .. }) => {
                Reply::Error("only root and the agent's own user may command it: use sudo".into())
            }
            (Ok(Request::Status), _) => Reply::Status(Box::new(self.now())),
            (Err(error), _) => Reply::Error(format!("not a request: {error}")),
        };
        timeout(self.patience, send(write, &reply)).await?
    }

    async fn command(mut self, command: Command, write: &mut OwnedWriteHalf) -> io::Result<()> {
        let (asker, answer) = oneshot::channel();
        let gone = || Reply::Error("the agent is ending".to_owned());
        if self.mailbox.send(Letter::Said(command.clone(), asker)).is_err() {
            return send(write, &gone()).await;
        }
        let Ok(answer) = answer.await else { return send(write, &gone()).await };
        let begun = answer == Answer::Begun;
        send(write, &Reply::Answer(answer)).await?;
        loop {
            let status = self.now();
            let over = status.agent.as_ref().is_none_or(|agent| command.is_over(&agent.life.phase));
            send(write, &Reply::Status(Box::new(status))).await?;
            if over || !begun {
                return Ok(());
            }
            tokio::select! {
                changed = self.status.changed() => if changed.is_err() { return Ok(()) },
                changed = self.progress.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    /// The newest status, with the progress of a stage.
    fn now(&self) -> Status {
        let mut status = self.status.borrow().clone();
        if let Some(agent) = &mut status.agent {
            agent.progress = self.progress.borrow().clone();
        }
        status
    }
}

async fn send(write: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_string(reply)?;
    line.push('\n');
    write.write_all(line.as_bytes()).await
}

#[cfg(test)]
mod tests;
