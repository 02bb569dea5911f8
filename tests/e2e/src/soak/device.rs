use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use payload_tools::error_chain::one_line;
use payload_tools::trust::{Client, Files, Limits, Reply, Step, TrustError};

use super::FastClock;
use crate::COMPATIBLE;
use crate::command::Failure;

/// A server that is stopped is left after this.
const PATIENCE: Duration = Duration::from_millis(250);

/// A device that checks again and again, and forgets nothing of what it trusts.
#[derive(Debug)]
pub struct Device {
    first_root: Vec<u8>,
    stored: Files,
    clock: FastClock,
    /// Checks that got to their end.
    pub checks: u64,
    /// Checks that were cut, by a server that was killed or stopped.
    pub cut: u64,
}

/// Why a check did not get to its end.
enum Ended {
    /// The server went away.
    Cut,
    /// It is up, and what it serves is refused.
    Refused(TrustError),
}

impl From<TrustError> for Ended {
    fn from(error: TrustError) -> Self {
        Self::Refused(error)
    }
}

impl Device {
    /// One that has only its image's first root.
    pub fn new(first_root: Vec<u8>, clock: FastClock) -> Self {
        Self { first_root, stored: Files::new(), clock, checks: 0, cut: 0 }
    }

    /// Checks at the server of that address.
    pub fn check(&mut self, address: &str) -> Result<(), Failure> {
        match self.try_check(address) {
            Ok(stored) => {
                self.stored = stored;
                self.checks += 1;
                Ok(())
            }
            Err(Ended::Cut) => {
                self.cut += 1;
                Ok(())
            }
            Err(Ended::Refused(error)) => Err(Failure::Unexpected {
                what: "a device's check",
                expected: "metadata that verifies".to_owned(),
                found: one_line(&error),
            }),
        }
    }

    fn try_check(&self, address: &str) -> Result<Files, Ended> {
        let now = self.clock.now().into();
        let Ok(compatible) = COMPATIBLE.parse() else { return Err(Ended::Cut) };
        let (root, limits) = (&self.first_root, Limits::default());
        let (mut client, _) = Client::new(root, &self.stored, &compatible, now, limits)?;
        while let Step::Fetch { path, .. } = client.next() {
            let reply = match get(address, &format!("/v1/metadata/{path}")) {
                Ok((200, body)) => Reply::Bytes(body),
                Ok((404, _)) => Reply::NotFound,
                // 503: the store is held by a process that was stopped.
                Ok(_) | Err(_) => return Err(Ended::Cut),
            };
            client.feed(reply)?;
        }
        Ok(client.finish()?.files_to_store().clone())
    }
}

/// The status and body of an answer that came whole.
fn get(address: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(cut)?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    match (status, length) {
        (Some(status), Some(length)) if length == body.len() => Ok((status, body)),
        _ => Err(cut()),
    }
}
