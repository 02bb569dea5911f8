//! Commands in a guest: the host's end of the shell that harness images run on the second serial
//! port (`image/overlay/shell`).

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// Why a command could not be run.
#[derive(Debug, Error)]
pub enum ShellError {
    /// The port's socket does not work.
    #[error("the guest's shell port {} failed", socket.display())]
    Port {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The guest did not answer in time.
    #[error("no answer from the guest to `{command}` within {} s", within.as_secs())]
    Silent {
        /// What was asked.
        command: String,
        /// How long was waited.
        within: Duration,
    },
    /// The command ran and failed where it must not.
    #[error("`{command}` ended with {} in the guest:\n{}", output.status, output.text)]
    Failed {
        /// What was asked.
        command: String,
        /// What it said.
        output: Output,
    },
}

/// What a command in the guest left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit status.
    pub status: u8,
    /// What it printed, both streams.
    pub text: String,
}

/// The port of one guest. It outlives the guest's reboots.
#[derive(Debug)]
pub struct GuestShell {
    socket: PathBuf,
    reader: BufReader<UnixStream>,
    partial: Vec<u8>,
    commands: u64,
}

/// How long a single read may block, so that deadlines are looked at.
const TURN: Duration = Duration::from_millis(200);

impl GuestShell {
    /// The arguments that give QEMU the port, listening at `socket`.
    pub fn qemu_arguments(socket: &Path) -> [String; 4] {
        let path = socket.display().to_string().replace(',', ",,");
        [
            "-chardev".to_owned(),
            format!("socket,id=shell,path={path},server=on,wait=off"),
            "-serial".to_owned(),
            "chardev:shell".to_owned(),
        ]
    }

    /// Connects to the port of a QEMU that was started with [`Self::qemu_arguments`].
    pub fn connect(socket: &Path) -> Result<Self, ShellError> {
        let port = |source| ShellError::Port { socket: socket.to_owned(), source };
        let stream = UnixStream::connect(socket).map_err(port)?;
        stream.set_read_timeout(Some(TURN)).map_err(port)?;
        Ok(Self {
            socket: socket.to_owned(),
            reader: BufReader::new(stream),
            partial: Vec::new(),
            commands: 0,
        })
    }

    /// Waits until the shell starts, which is once in each boot. Gives the boot's id.
    pub fn wait_for_boot(&mut self, within: Duration) -> Result<String, ShellError> {
        let deadline = Instant::now() + within;
        loop {
            let Some(line) = self.line(deadline)? else {
                return Err(ShellError::Silent { command: "boot".to_owned(), within });
            };
            if let Some(boot_id) = line.strip_prefix("ready ") {
                return Ok(boot_id.to_owned());
            }
        }
    }

    /// Runs `command` with the guest's `sh` and waits for its end.
    pub fn run(&mut self, command: &str, within: Duration) -> Result<Output, ShellError> {
        let deadline = Instant::now() + within;
        self.commands += 1;
        let id = format!("c{}", self.commands);
        let request = format!("{id} {}\n", STANDARD.encode(command));
        let port = |source| ShellError::Port { socket: self.socket.clone(), source };
        self.reader.get_mut().write_all(request.as_bytes()).map_err(port)?;
        loop {
            let Some(line) = self.line(deadline)? else {
                return Err(ShellError::Silent { command: command.to_owned(), within });
            };
            if let Some(output) = answer(&line, &id) {
                return Ok(output);
            }
        }
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub fn succeed(&mut self, command: &str, within: Duration) -> Result<String, ShellError> {
        let output = self.run(command, within)?;
        match output.status {
            0 => Ok(output.text),
            _ => Err(ShellError::Failed { command: command.to_owned(), output }),
        }
    }

    /// Writes a small file, and the folders above it.
    pub fn write_file(
        &mut self,
        path: &str,
        content: &[u8],
        within: Duration,
    ) -> Result<(), ShellError> {
        let content = STANDARD.encode(content);
        let write = format!("mkdir -p \"$(dirname {path})\" && echo {content} | base64 -d >{path}");
        self.succeed(&write, within).map(drop)
    }

    /// The next whole line, or nothing at the deadline.
    fn line(&mut self, deadline: Instant) -> Result<Option<String>, ShellError> {
        while Instant::now() < deadline {
            match self.reader.read_until(b'\n', &mut self.partial) {
                Ok(0) => {
                    let source = ErrorKind::UnexpectedEof.into();
                    return Err(ShellError::Port { socket: self.socket.clone(), source });
                }
                Ok(_) => {
                    let line = std::mem::take(&mut self.partial);
                    return Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()));
                }
                // What came so far stays in `partial`.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(ShellError::Port { socket: self.socket.clone(), source });
                }
            }
        }
        Ok(None)
    }
}

/// The answer to command `id`, if `line` is it: other lines are of an earlier boot, or noise.
fn answer(line: &str, id: &str) -> Option<Output> {
    let mut words = line.split(' ');
    if words.next() != Some(id) {
        return None;
    }
    let status = words.next()?.parse().ok()?;
    let bytes = STANDARD.decode(words.next().unwrap_or_default()).ok()?;
    Some(Output { status, text: String::from_utf8_lossy(&bytes).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_this_command_counts() {
        let output = |status, text: &str| Some(Output { status, text: text.to_owned() });
        assert_eq!(answer("c1 0 aGVsbG8K", "c1"), output(0, "hello\n"));
        assert_eq!(answer("c1 3 ", "c1"), output(3, ""));
        assert_eq!(answer("c1 0 aGVsbG8K", "c2"), None);
        assert_eq!(answer("c1 x aGVsbG8K", "c1"), None);
        assert_eq!(answer("BdsDxe: loading", "c1"), None);
    }
}
