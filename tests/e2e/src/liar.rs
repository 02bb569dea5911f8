//! What stands between a device and its update server, and tells lies: the server's own bytes go
//! through, but for those that a lie is about.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What a device gets in the place of the server's answer.
#[derive(Clone, Debug)]
pub enum Lie {
    /// An error.
    Status(u16),
    /// A portal's page, with status 200.
    Page,
    /// Other bytes, with status 200.
    Bytes(Vec<u8>),
    /// The server's answer with one bit of its last byte changed.
    Flipped,
    /// The server's metadata with another signature.
    Forged,
    /// The first half of the server's answer; then the connection is cut.
    Cut,
    /// Nothing, for as long as the device waits.
    Silence,
}

/// A proxy that lies about some paths.
#[derive(Clone, Debug)]
pub struct Liar {
    url: String,
    server: String,
    lies: Arc<Mutex<Vec<Planned>>>,
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
        let liar = Self { url, server, lies: Arc::default() };
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
        let mut lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
        lies.push(Planned { about: part.to_owned(), truths, lie });
    }

    /// From now on everything is the truth.
    pub fn repent(&self) {
        self.lies.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn lie_about(&self, request: &Request) -> Option<Lie> {
        let asked = request.asked();
        let mut lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
        let planned = lies.iter_mut().find(|planned| asked.contains(&planned.about))?;
        let lies = planned.truths == 0;
        planned.truths = planned.truths.saturating_sub(1);
        lies.then(|| planned.lie.clone())
    }

    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let request = Request::read(&stream)?;
        let lie = self.lie_about(&request);
        match &lie {
            Some(Lie::Status(status)) => return send(&mut stream, *status, b"{}"),
            Some(Lie::Page) => return send(&mut stream, 200, b"<html>please log in</html>"),
            Some(Lie::Bytes(bytes)) => return send(&mut stream, 200, bytes),
            Some(Lie::Silence) => {
                // Until the device hangs up.
                stream.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
            Some(Lie::Flipped | Lie::Forged | Lie::Cut) | None => {}
        }
        let mut answer = request.ask(&self.server)?;
        let body = answer.windows(4).position(|at| at == b"\r\n\r\n").map_or(0, |at| at + 4);
        const SIGNATURE: &[u8] = b"\"sig\":\"";
        let signature = answer.windows(SIGNATURE.len()).position(|at| at == SIGNATURE);
        match (lie, signature) {
            (Some(Lie::Flipped), _) => answer.iter_mut().last().into_iter().for_each(|b| *b ^= 1),
            (Some(Lie::Cut), _) => answer.truncate(body + (answer.len() - body) / 2),
            (Some(Lie::Forged), Some(at)) => {
                let digit = &mut answer[at + SIGNATURE.len()];
                *digit = if *digit == b'0' { b'1' } else { b'0' };
            }
            _ => {}
        }
        stream.write_all(&answer)
    }
}

/// A request as it came, but that the server is to hang up after it.
struct Request {
    head: Vec<String>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> io::Result<Self> {
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

    fn ask(&self, server: &str) -> io::Result<Vec<u8>> {
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

fn send(stream: &mut TcpStream, status: u16, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} \r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}
