//! What stands between a device and its update server, and tells lies: the server's own bytes go
//! through, but for those that a lie is about.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that the system may keep of an answer that nobody reads: with more, what was sent would say
/// little of what was taken.
const SEND_BUFFER: usize = 16 << 10;
/// Between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_millis(20);

/// Metadata by its names below `/v1/metadata/`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a device gets in the place of the server's answer.
#[derive(Clone, Debug)]
pub enum Lie {
    /// An error.
    Status(u16),
    /// A portal's page, with status 200.
    Page,
    /// Other bytes, with status 200.
    Bytes(Vec<u8>),
    /// That it is found below another URL.
    Elsewhere(String),
    /// The server's answer with one bit of its last byte changed.
    Flipped,
    /// The server's metadata with another signature.
    Forged,
    /// The first half of the server's answer; then the connection is cut.
    Cut,
    /// The first half of the server's answer; then nothing, for as long as the device waits.
    Stall,
    /// Nothing, for as long as the device waits.
    Silence,
    /// The server's answer, and then spaces until the device hangs up.
    Endless,
    /// The server's answer, a byte now and then.
    Drip,
    /// The server's answer to another request.
    Instead {
        /// What is in the request.
        from: String,
        /// What stands there in the other.
        to: String,
    },
    /// The server's answer, which it is asked for once the request is let through.
    Held(Arc<Gate>),
}

/// Where requests wait.
#[derive(Debug)]
pub struct Gate {
    reach: Sender<()>,
    opened: Mutex<Receiver<()>>,
}

/// Who lets requests through.
#[derive(Debug)]
pub struct Keeper {
    reached: Receiver<()>,
    open: Sender<()>,
}

impl Lie {
    /// Requests that wait until they are let through.
    pub fn held() -> (Self, Keeper) {
        let ((reach, reached), (open, opened)) = (channel(), channel());
        let gate = Gate { reach, opened: Mutex::new(opened) };
        (Self::Held(Arc::new(gate)), Keeper { reached, open })
    }
}

impl Keeper {
    /// Waits until a request is there.
    pub fn await_request(&self) {
        // Gone with the liar, which ends with the process.
        let _ = self.reached.recv();
    }

    /// Lets one request through.
    pub fn let_through(&self) {
        let _ = self.open.send(());
    }
}

impl Gate {
    /// Returns when somebody lets it through, or nobody is there any more who could.
    fn wait(&self) {
        let _ = self.reach.send(());
        let _ = lock(&self.opened).recv();
    }
}

/// What a device was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Requests.
    pub requests: u64,
    /// Bytes of the answers, heads included.
    pub bytes: u64,
}

/// A proxy that lies about some paths.
#[derive(Clone, Debug)]
pub struct Liar {
    url: String,
    server: String,
    lies: Arc<Mutex<Vec<Planned>>>,
    metadata: Arc<Mutex<Option<Files>>>,
    served: Arc<Mutex<Served>>,
}

/// A lie that is told once the truth was told a few times.
#[derive(Clone, Debug)]
struct Planned {
    about: String,
    truths: usize,
    lie: Lie,
}

impl Liar {
    /// Listens for as long as the process runs. `server` is the true one's `http://ADDRESS:PORT`.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub fn before(server: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = server.trim_start_matches("http://").to_owned();
        let (lies, metadata, served) = (Arc::default(), Arc::default(), Arc::default());
        let liar = Self { url, server, lies, metadata, served };
        let of_thread = liar.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let liar = of_thread.clone();
                // A device that hangs up has heard enough.
                std::thread::spawn(move || liar.answer(stream));
            }
        });
        Ok(liar)
    }

    /// Where a device finds it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on answers about requests that contain `part` in path or range are lies.
    pub fn lie(&self, part: &str, lie: Lie) {
        self.lie_after(0, part, lie);
    }

    /// The same after `truths` true answers.
    pub fn lie_after(&self, truths: usize, part: &str, lie: Lie) {
        lock(&self.lies).push(Planned { about: part.to_owned(), truths, lie });
    }

    /// From now on everything is the truth.
    pub fn repent(&self) {
        lock(&self.lies).clear();
    }

    /// From now on these are the files of the metadata, and there are no others. Lies about them go
    /// on.
    pub fn show(&self, metadata: Files) {
        *lock(&self.metadata) = Some(metadata);
    }

    /// What was sent since this was last asked.
    pub fn served(&self) -> Served {
        std::mem::take(&mut *lock(&self.served))
    }

    fn lie_about(&self, request: &Request) -> Option<Lie> {
        let asked = request.asked();
        let mut lies = lock(&self.lies);
        for planned in lies.iter_mut().filter(|planned| asked.contains(&planned.about)) {
            match planned.truths.checked_sub(1) {
                Some(left) => planned.truths = left,
                None => return Some(planned.lie.clone()),
            }
        }
        None
    }

    fn answer(&self, stream: TcpStream) -> io::Result<()> {
        let mut request = Request::read(&stream)?;
        lock(&self.served).requests += 1;
        let mut to = Counted { stream, served: self.served.clone() };
        let lie = self.lie_about(&request);
        match &lie {
            Some(Lie::Status(status)) => return to.write_all(&whole(*status, b"{}")),
            Some(Lie::Page) => return to.write_all(&whole(200, b"<html>please log in</html>")),
            Some(Lie::Bytes(bytes)) => return to.write_all(&whole(200, bytes)),
            Some(Lie::Elsewhere(base)) => return to.write_all(&request.redirected(base)),
            // Until the device hangs up.
            Some(Lie::Held(gate)) => gate.wait(),
            Some(Lie::Silence) => return to.stream.read_to_end(&mut Vec::new()).map(drop),
            Some(Lie::Instead { from, to }) => {
                request.head.iter_mut().for_each(|line| *line = line.replace(from, to));
            }
            _ => {}
        }
        let stalls = matches!(lie, Some(Lie::Stall));
        let mut answer = self.truth(&request)?;
        let body = answer.windows(4).position(|at| at == b"\r\n\r\n").map_or(0, |at| at + 4);
        const SIGNATURE: &[u8] = b"\"sig\":\"";
        let signature = answer.windows(SIGNATURE.len()).position(|at| at == SIGNATURE);
        match (lie, signature) {
            (Some(Lie::Flipped), _) => answer.iter_mut().last().into_iter().for_each(|b| *b ^= 1),
            (Some(Lie::Cut | Lie::Stall), _) => answer.truncate(body + (answer.len() - body) / 2),
            (Some(Lie::Forged), Some(at)) => {
                let digit = &mut answer[at + SIGNATURE.len()];
                *digit = if *digit == b'0' { b'1' } else { b'0' };
            }
            (Some(Lie::Endless), _) => return to.endless(&answer, body),
            (Some(Lie::Drip), _) => return to.drip(&answer),
            _ => {}
        }
        to.write_all(&answer)?;
        if stalls {
            to.stream.read_to_end(&mut Vec::new())?;
        }
        Ok(())
    }

    /// What is shown as the metadata; else the server's answer.
    fn truth(&self, request: &Request) -> io::Result<Vec<u8>> {
        let shown = lock(&self.metadata);
        let (Some(files), Some(name)) = (&*shown, request.metadata()) else {
            drop(shown);
            return request.ask(&self.server);
        };
        Ok(files.get(name).map_or_else(|| whole(404, b"{}"), |bytes| whole(200, bytes)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection to a device. What is written is counted when the system has taken it.
struct Counted {
    stream: TcpStream,
    served: Arc<Mutex<Served>>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        lock(&self.served).bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Counted {
    /// Without a length, an answer ends when the connection does.
    fn endless(&mut self, answer: &[u8], body: usize) -> io::Result<()> {
        rustix::net::sockopt::set_socket_send_buffer_size(&self.stream, SEND_BUFFER)?;
        let head = String::from_utf8_lossy(&answer[..body]);
        let of_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
        for line in head.split_inclusive("\r\n").filter(|line| !of_length(line)) {
            self.write_all(line.as_bytes())?;
        }
        self.write_all(&answer[body..])?;
        loop {
            self.write_all(&[b' '; 1024])?;
        }
    }

    fn drip(&mut self, answer: &[u8]) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        for byte in answer {
            self.write_all(&[*byte])?;
            std::thread::sleep(DRIP);
        }
        Ok(())
    }
}

/// A request as it came, but that the server is to hang up after it.
pub(crate) struct Request {
    head: Vec<String>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn read(stream: impl Read) -> io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line == "\r\n" {
                break;
            }
            head.push(line);
        }
        let length = |line: &String| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        };
        let mut body = vec![0; head.iter().find_map(length).unwrap_or(0)];
        reader.read_exact(&mut body)?;
        Ok(Self { head, body })
    }

    /// Method, path and range.
    fn asked(&self) -> String {
        let range = self.head.iter().find(|line| line.to_ascii_lowercase().starts_with("range:"));
        format!("{} {}", self.head.first().map_or("", |line| line.trim()), range.map_or("", |s| s))
    }

    fn path(&self) -> Option<&str> {
        self.head.first()?.split(' ').nth(1)
    }

    /// Which file of the metadata is asked for.
    fn metadata(&self) -> Option<&str> {
        self.path()?.strip_prefix("/v1/metadata/")
    }

    fn redirected(&self, base: &str) -> Vec<u8> {
        let path = self.path().unwrap_or("/");
        format!("HTTP/1.1 307 \r\nLocation: {base}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .into_bytes()
    }

    /// The server's answer, which is at `ADDRESS:PORT`.
    pub(crate) fn ask(&self, server: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(server)?;
        let of_connection = |line: &str| line.to_ascii_lowercase().starts_with("connection:");
        for line in self.head.iter().filter(|line| !of_connection(line)) {
            stream.write_all(line.as_bytes())?;
        }
        stream.write_all(b"Connection: close\r\n\r\n")?;
        stream.write_all(&self.body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

fn whole(status: u16, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} \r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}
