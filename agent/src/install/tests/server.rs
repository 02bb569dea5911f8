//! A real HTTP server on a port of its own, which can be told to misbehave.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the server does wrong, for as many answers as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Closes the connection after this many bytes of the body.
    CutAfter(usize),
    /// Sends the whole document.
    IgnoreRange,
    /// A captive portal's page.
    Portal,
    /// Content-Range of other bytes, and those bytes.
    Shifted,
    /// This status.
    Status(u16),
    /// No answer until the client goes away.
    Silence,
    /// One byte of the body is another.
    FlipAt(usize),
    /// The body ends with these bytes.
    EndsWith(Vec<u8>),
    /// The answer comes late; the bytes that are late at once are counted.
    Late,
    /// Nothing wrong this time.
    None,
}

/// Serves documents by path until dropped.
pub(crate) struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    over: AtomicBool,
    documents: HashMap<String, Vec<u8>>,
    faults: Mutex<Vec<(String, Fault)>>,
    log: Mutex<Vec<String>>,
    late: Mutex<Late>,
}

/// Bytes that are late, now and at most.
#[derive(Default)]
struct Late {
    now: usize,
    most: usize,
}

/// Long enough for all threads of a stage to ask.
const LATE: Duration = Duration::from_millis(300);

impl Server {
    pub fn start(documents: HashMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, log) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let over = AtomicBool::new(false);
        let late = Mutex::default();
        let shared = Arc::new(Shared { over, documents, faults, log, late });
        let of_thread = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.over.load(Ordering::SeqCst) {
                    break;
                }
                let (shared, stream) = (Arc::clone(&of_thread), stream.unwrap());
                std::thread::spawn(move || while shared.answer(&stream).is_some() {});
            }
        });
        Server { address, shared, accepting: Some(accepting) }
    }

    /// The next answers about paths that end so have these faults, in order.
    pub fn fault(&self, path_end: &str, faults: &[Fault]) {
        let faults = faults.iter().map(|fault| (path_end.to_owned(), fault.clone()));
        self.shared.faults.lock().unwrap().extend(faults);
    }

    /// The most bytes that were late at once.
    pub fn most_late(&self) -> usize {
        self.shared.late.lock().unwrap().most
    }

    /// The requests so far: path and range.
    pub fn log(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then closes the port.
        let _ = TcpStream::connect(self.address);
        self.accepting.take().map(JoinHandle::join);
    }
}

impl Shared {
    /// Answers one request; `None` ends the connection.
    fn answer(&self, mut stream: &TcpStream) -> Option<()> {
        let (path, range) = read_request(stream)?;
        self.log.lock().unwrap().push(format!("{path} {}", range.as_deref().unwrap_or("whole")));
        let fault = self.next_fault(&path);
        let Some(document) = self.documents.get(&path) else {
            return send(stream, "404 Not Found", "", b"none");
        };
        let range = range.map(|range| parse_range(&range, document.len()));
        match (fault, range) {
            (Fault::Portal, _) => send(
                stream,
                "200 OK",
                "content-type: text/html; charset=utf-8\r\n",
                b"<html>log in",
            ),
            (Fault::Status(status), _) => send(stream, &format!("{status} Trouble"), "", b""),
            (Fault::Silence, _) => {
                std::io::copy(&mut stream, &mut std::io::sink()).ok();
                None
            }
            (Fault::Late, Some(range)) => {
                self.be_late(range.len());
                send_range(stream, document, range, Fault::None)
            }
            (Fault::IgnoreRange, _) | (_, None) => send(stream, "200 OK", "", document),
            (fault, Some(range)) => send_range(stream, document, range, fault),
        }
    }

    fn be_late(&self, bytes: usize) {
        let mut late = self.late.lock().unwrap();
        late.now += bytes;
        late.most = late.most.max(late.now);
        drop(late);
        std::thread::sleep(LATE);
        self.late.lock().unwrap().now -= bytes;
    }

    fn next_fault(&self, path: &str) -> Fault {
        let mut faults = self.faults.lock().unwrap();
        let at = faults.iter().position(|(end, _)| path.ends_with(end));
        at.map_or(Fault::None, |at| faults.remove(at).1)
    }
}

fn send_range(
    mut stream: &TcpStream,
    document: &[u8],
    range: Range<usize>,
    fault: Fault,
) -> Option<()> {
    let mut body = document[range.clone()].to_vec();
    let first = range.start + usize::from(fault == Fault::Shifted);
    match &fault {
        Fault::FlipAt(at) => body[*at] ^= 1,
        Fault::EndsWith(end) => {
            let at = body.len() - end.len();
            body[at..].copy_from_slice(end);
        }
        _ => {}
    }
    let header = format!("content-range: bytes {first}-{}/{}\r\n", range.end - 1, document.len());
    if let Fault::CutAfter(len) = fault {
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\n{header}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&body[..len.min(body.len())]).ok()?;
        return None;
    }
    send(stream, "206 Partial Content", &header, &body)
}

fn send(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> Option<()> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()
}

fn read_request(stream: &TcpStream) -> Option<(String, Option<String>)> {
    // One request at a time: nothing is read ahead of the blank line.
    let mut lines = BufReader::with_capacity(1, stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut range = None;
    for line in lines {
        let line = line.ok()?.to_ascii_lowercase();
        match line.strip_prefix("range: bytes=") {
            Some(asked) => range = Some(asked.to_owned()),
            None if line.is_empty() => break,
            None => {}
        }
    }
    Some((path, range))
}

fn parse_range(text: &str, len: usize) -> Range<usize> {
    match text.split_once('-').unwrap() {
        ("", suffix) => len - suffix.parse::<usize>().unwrap()..len,
        (first, last) => first.parse().unwrap()..last.parse::<usize>().unwrap() + 1,
    }
}
