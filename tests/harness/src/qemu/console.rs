//! The serial console: read by a thread, kept, searched with a deadline.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ChildStdout;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use fs_err as fs;

/// How a wait ended.
pub(super) enum Waited {
    /// Which text.
    Found(usize),
    /// The deadline passed.
    Deadline,
    /// The console was closed: QEMU has ended.
    Closed,
}

#[derive(Debug, Default)]
struct Stream {
    text: String,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    stream: Mutex<Stream>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stream> {
        // A panic of the reader leaves whole characters in the text; a search of it is sound.
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the guest has printed.
#[derive(Debug)]
pub(super) struct Console {
    shared: Arc<Shared>,
    found: usize,
    searched: usize,
}

impl Console {
    /// Begins to read; each byte also goes to `file`.
    pub(super) fn read(stdout: Option<ChildStdout>, file: Option<&Path>) -> io::Result<Self> {
        let mut file = file
            .map(|path| fs::OpenOptions::new().create(true).append(true).open(path))
            .transpose()?;
        let mut stdout =
            stdout.ok_or_else(|| io::Error::other("QEMU has no standard output to read"))?;
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        thread::spawn(move || {
            let mut filter = Plain::default();
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                if let Some(file) = &mut file
                    && file.write_all(&buffer[..length]).is_err()
                {
                    break;
                }
                let text = filter.push(&buffer[..length]);
                writer.lock().text.push_str(&text);
                writer.changed.notify_all();
            }
            writer.lock().closed = true;
            writer.changed.notify_all();
        });
        Ok(Self { shared, found: 0, searched: 0 })
    }

    pub(super) fn wait_for_any(&mut self, texts: &[&str], deadline: Instant) -> Waited {
        let mut stream = self.shared.lock();
        loop {
            let rest = &stream.text[self.searched..];
            let first = texts
                .iter()
                .enumerate()
                .filter_map(|(index, text)| Some((rest.find(text)?, index)))
                .min();
            if let Some((at, index)) = first {
                self.found = self.searched + at;
                self.searched = self.found + texts[index].len();
                return Waited::Found(index);
            }
            if stream.closed {
                return Waited::Closed;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return Waited::Deadline;
            };
            let waited = self.shared.changed.wait_timeout(stream, left);
            stream = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the console was closed before the deadline.
    pub(super) fn wait_for_end(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), left, |stream| !stream.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    pub(super) fn text(&self) -> String {
        self.shared.lock().text.clone()
    }

    /// The line of the text that was found last, as far as it was printed; of a line end, the
    /// line that it ends.
    pub(super) fn line(&self) -> String {
        line_at(&self.shared.lock().text, self.found).to_owned()
    }

    /// The last 40 lines.
    pub(super) fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

fn line_at(text: &str, at: usize) -> &str {
    let begin = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    &text[begin..end]
}

/// Removes terminal control sequences (OVMF redraws with them) and carriage returns.
#[derive(Debug, Default)]
struct Plain {
    state: Escape,
    partial: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Escape {
    #[default]
    Outside,
    Begun,
    Sequence,
}

impl Plain {
    fn push(&mut self, bytes: &[u8]) -> String {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (Escape::Outside, 0x1b) => Escape::Begun,
                (Escape::Outside, b'\r' | 0) => Escape::Outside,
                (Escape::Outside, _) => {
                    self.partial.push(byte);
                    Escape::Outside
                }
                (Escape::Begun, b'[') => Escape::Sequence,
                (Escape::Begun, _) => Escape::Outside,
                (Escape::Sequence, 0x40..=0x7e) => Escape::Outside,
                (Escape::Sequence, _) => Escape::Sequence,
            };
        }
        self.take_whole_characters()
    }

    /// A character cut by the end of a read waits for its rest.
    fn take_whole_characters(&mut self) -> String {
        let whole = match std::str::from_utf8(&self.partial) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.partial.len(),
        };
        let rest = self.partial.split_off(whole);
        let text = String::from_utf8_lossy(&self.partial).into_owned();
        self.partial = rest;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_go_even_when_cut_between_reads() {
        let mut plain = Plain::default();
        let mut text = plain.push(b"\x1b[2J\x1b[01;01HBds\r\nslot \xc3");
        text += &plain.push(b"\xa4\x1b[");
        text += &plain.push(b"0m!\x1bc");
        assert_eq!(text, "Bds\nslot \u{e4}!");
    }

    #[test]
    fn a_found_line_is_whole_and_without_its_end() {
        assert_eq!(line_at("one\ntwo three\nfour", 8), "two three");
        assert_eq!(line_at("one\ntwo", 4), "two");
    }
}
