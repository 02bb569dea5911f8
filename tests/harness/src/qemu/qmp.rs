//! The control socket (QEMU Machine Protocol): commands, and events counted by name.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

/// How long QEMU may take to answer a command: it does so from its main loop.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// The socket that QEMU will connect to: bound before it starts, so nothing races.
#[derive(Debug)]
pub(super) struct Listener(UnixListener);

impl Listener {
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        UnixListener::bind(path).map(Self)
    }

    /// Takes QEMU's connection, unless it ends (`alive` says no) or the deadline passes first.
    pub(super) fn accept(
        self,
        within: Duration,
        mut alive: impl FnMut() -> bool,
    ) -> Result<Qmp, String> {
        let deadline = Instant::now() + within;
        // The process cannot be polled together with the socket, so it is asked now and then.
        let turn = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        loop {
            let mut waited = [PollFd::new(&self.0, PollFlags::IN)];
            let ready = poll(&mut waited, Some(&turn)).map_err(|error| error.to_string())?;
            if ready > 0 {
                break;
            }
            if !alive() {
                return Err("QEMU ended before it connected".to_owned());
            }
            if Instant::now() > deadline {
                return Err(format!("no connection within {} s", within.as_secs()));
            }
        }
        let (stream, _) = self.0.accept().map_err(|error| error.to_string())?;
        Qmp::greet(stream)
    }
}

#[derive(Debug, Default)]
struct State {
    events: BTreeMap<String, usize>,
    answers: Vec<Result<Value, String>>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in command mode.
#[derive(Debug)]
pub(super) struct Qmp {
    stream: UnixStream,
    shared: Arc<Shared>,
}

impl Qmp {
    fn greet(stream: UnixStream) -> Result<Self, String> {
        let shared = Arc::new(Shared::default());
        let reader = BufReader::new(
            stream.as_fd().try_clone_to_owned().map(UnixStream::from).map_err(|e| e.to_string())?,
        );
        let writer = Arc::clone(&shared);
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                note(&mut writer.lock(), &line);
                writer.changed.notify_all();
            }
            writer.lock().closed = true;
            writer.changed.notify_all();
        });
        let mut qmp = Self { stream, shared };
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Sends a command and waits for its answer.
    pub(super) fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        let request = json!({ "execute": command, "arguments": arguments }).to_string();
        self.stream
            .write_all(request.as_bytes())
            .map_err(|error| format!("sending {command} failed: {error}"))?;
        let deadline = Instant::now() + ANSWER_DEADLINE;
        let mut state = self.wait_until(deadline, |state| !state.answers.is_empty());
        match state.answers.pop() {
            Some(answer) => answer.map_err(|error| format!("{command} was refused: {error}")),
            None => Err(format!("{command} was not answered")),
        }
    }

    /// Waits until `name` has been reported `times` times since the start.
    pub(super) fn wait_for_event(
        &self,
        name: &str,
        times: usize,
        deadline: Instant,
    ) -> Result<(), String> {
        let count = |state: &State| state.events.get(name).copied().unwrap_or(0);
        let state = self.wait_until(deadline, |state| count(state) >= times);
        match count(&state) {
            seen if seen >= times => Ok(()),
            seen => Err(format!("{seen} {name} events came where {times} were waited for")),
        }
    }

    /// Returns when `done`, at the deadline, or when QEMU has gone.
    fn wait_until(
        &self,
        deadline: Instant,
        done: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), left, |state| !state.closed && !done(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Files one line of QEMU's: an event, or the answer to the one command under way.
fn note(state: &mut State, line: &str) {
    let Ok(message) = serde_json::from_str::<Value>(line) else {
        return state.answers.push(Err(format!("not JSON: {line}")));
    };
    if let Some(name) = message["event"].as_str() {
        *state.events.entry(name.to_owned()).or_default() += 1;
    } else if let Some(answer) = message.get("return") {
        state.answers.push(Ok(answer.clone()));
    } else if let Some(error) = message.get("error") {
        state.answers.push(Err(error.to_string()));
    }
}
