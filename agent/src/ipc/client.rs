use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{LINE_MAX, Reply, Request};
use crate::status::Status;
use crate::update::{Answer, Command};

/// A connection to the daemon.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
}

/// What is shown of a command while it goes on.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// It is accepted.
    Begun,
    /// How the device is by now.
    Status(&'a Status),
}

/// A daemon that did not answer.
#[derive(Debug, thiserror::Error)]
pub enum IpcError {
    /// The connection broke.
    #[error("the connection to update-agent broke: see `systemctl status update-agent`")]
    Io(#[from] io::Error),
    /// A line that is not of the protocol.
    #[error(
        "update-agent answered what this updatectl does not understand: are they of one version?"
    )]
    Protocol(#[from] serde_json::Error),
    /// The daemon refused.
    #[error("{0}")]
    Refused(String),
}

impl Connection {
    /// Connects to the daemon's socket. `None`: no daemon runs.
    ///
    /// # Errors
    /// It may run, and cannot be reached.
    pub fn open(socket: &Path) -> Result<Option<Self>, IpcError> {
        match UnixStream::connect(socket) {
            Ok(stream) => Ok(Some(Self { stream })),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// How the device is.
    ///
    /// # Errors
    /// As [`IpcError`] says.
    pub fn status(mut self) -> Result<Status, IpcError> {
        self.send(&Request::Status)?;
        match next(&mut BufReader::new(self.stream))? {
            Some(Reply::Status(status)) => Ok(*status),
            Some(Reply::Error(error)) => Err(IpcError::Refused(error)),
            Some(Reply::Answer(_)) | None => Err(IpcError::Io(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Says `command`, shows that it is accepted, and every status until what it asked for is
    /// over. The last one may show a reboot: then the daemon has ended.
    ///
    /// # Errors
    /// As [`IpcError`] says.
    pub fn command(
        mut self,
        command: Command,
        mut show: impl FnMut(Shown<'_>),
    ) -> Result<(Answer, Option<Status>), IpcError> {
        self.send(&Request::Command { command })?;
        let mut lines = BufReader::new(self.stream);
        let answer = match next(&mut lines)? {
            Some(Reply::Answer(answer)) => answer,
            Some(Reply::Error(error)) => return Err(IpcError::Refused(error)),
            Some(Reply::Status(_)) | None => {
                return Err(IpcError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        };
        if answer == Answer::Begun {
            show(Shown::Begun);
        }
        let mut last = None;
        while let Ok(Some(Reply::Status(status))) = next(&mut lines) {
            show(Shown::Status(&status));
            last = Some(*status);
        }
        Ok((answer, last))
    }

    fn send(&mut self, request: &Request) -> Result<(), IpcError> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        Ok(self.stream.write_all(line.as_bytes())?)
    }
}

fn next(lines: &mut BufReader<UnixStream>) -> Result<Option<Reply>, IpcError> {
    let mut line = String::new();
    if lines.by_ref().take(LINE_MAX).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}
