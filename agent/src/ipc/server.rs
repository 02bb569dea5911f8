use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fs_err as fs;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedWriteHalf, UCred};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};

use super::{LINE_MAX, Reply, Request};
use crate::status::{StageProgress, Status};
use crate::update::driver::Letter;
use crate::update::{Answer, Command};

/// What a connection speaks for.
#[derive(Clone)]
struct Desk {
    mailbox: mpsc::UnboundedSender<Letter>,
    status: watch::Receiver<Status>,
    progress: watch::Receiver<Option<StageProgress>>,
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
    // The lock on STATE says that no other agent runs, so this one is left over.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
    let desk = Desk { mailbox, status, progress };
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(desk.clone().talk(stream))),
                Err(error) => warn!("cannot accept a connection: {error}"),
            }
        }
    });
    Ok(())
}

impl Desk {
    async fn talk(self, stream: UnixStream) {
        let peer = stream.peer_cred();
        let (read, mut write) = stream.into_split();
        let mut line = String::new();
        let mut bounded = BufReader::new(read.take(LINE_MAX));
        let result = match bounded.read_line(&mut line).await {
            Ok(_) => self.answer(&line, peer, &mut write).await,
            Err(error) => Err(error),
        };
        // The peer went away, or sends no text: its loss.
        if let Err(error) = result {
            debug!("a connection ended: {error}");
        }
    }

    async fn answer(
        self,
        line: &str,
        peer: io::Result<UCred>,
        write: &mut OwnedWriteHalf,
    ) -> io::Result<()> {
        match serde_json::from_str::<Request>(line) {
            Ok(Request::Status) => send(write, &Reply::Status(Box::new(self.now()))).await,
            Ok(Request::Command { command }) if allowed(&peer?) => {
                self.command(command, write).await
            }
            Ok(Request::Command { .. }) => {
                let error = "only root and the agent's own user may command it: use sudo";
                send(write, &Reply::Error(error.to_owned())).await
            }
            Err(error) => send(write, &Reply::Error(format!("not a request: {error}"))).await,
        }
    }

    async fn command(mut self, command: Command, write: &mut OwnedWriteHalf) -> io::Result<()> {
        let (asker, answer) = oneshot::channel();
        let gone = || Reply::Error("the agent is ending".to_owned());
        if self.mailbox.send(Letter::Said(command, asker)).is_err() {
            return send(write, &gone()).await;
        }
        let Ok(answer) = answer.await else { return send(write, &gone()).await };
        let begun = answer == Answer::Begun;
        send(write, &Reply::Answer(answer)).await?;
        loop {
            let status = self.now();
            let rests = status.agent.as_ref().is_none_or(|agent| agent.life.phase.rests());
            send(write, &Reply::Status(Box::new(status))).await?;
            if rests || !begun {
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

fn allowed(peer: &UCred) -> bool {
    peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw()
}

async fn send(write: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_string(reply)?;
    line.push('\n');
    write.write_all(line.as_bytes()).await
}
