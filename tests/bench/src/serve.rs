//! The smallest file server that both contenders can be fed by: files of one
//! folder, ranges, keep-alive, and a count of the bytes sent.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{BenchError, at};

/// Serves a folder on 127.0.0.1 until the process ends.
pub struct FileServer {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
}

impl FileServer {
    /// Serves what is below `folder` under `/v1/`.
    pub fn start(folder: &Path) -> Result<Self, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(at("listen on 127.0.0.1"))?;
        let address = listener.local_addr().map_err(at("listen on 127.0.0.1"))?;
        let sent = Arc::new(AtomicU64::new(0));
        let (count, folder) = (Arc::clone(&sent), folder.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // As every web server does; without it answers are sent all the same.
                let _ = stream.set_nodelay(true);
                let (count, folder) = (Arc::clone(&count), folder.clone());
                // A client that goes away ends its own thread only.
                std::thread::spawn(move || while answer(&stream, &folder, &count).is_ok() {});
            }
        });
        Ok(FileServer { address, sent })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Body bytes sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// One request. `Err` ends the connection, be it by error or by its end.
fn answer(mut stream: &TcpStream, folder: &Path, sent: &AtomicU64) -> io::Result<()> {
    let Request { is_head, path, range } = read_request(stream)?;
    let Some(mut file) = open(folder, &path) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    };
    let size = file.metadata()?.len();
    let (first, end) = match range.as_deref().and_then(|range| range.split_once('-')) {
        None => (0, size),
        Some(("", suffix)) => (size.saturating_sub(number(suffix)?), size),
        Some((first, "")) => (number(first)?, size),
        Some((first, last)) => (number(first)?, number(last)?.saturating_add(1).min(size)),
    };
    let len = end.checked_sub(first).ok_or(io::ErrorKind::InvalidInput)?;
    let status = match range {
        None => "200 OK\r\n".to_owned(),
        Some(_) => {
            format!("206 Partial Content\r\ncontent-range: bytes {first}-{}/{size}\r\n", end - 1)
        }
    };
    let head = format!("HTTP/1.1 {status}content-length: {len}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    if is_head {
        return Ok(());
    }
    file.seek(SeekFrom::Start(first))?;
    // From file to socket inside the kernel: std uses sendfile here.
    let copied = io::copy(&mut file.take(len), &mut stream)?;
    sent.fetch_add(copied, Ordering::Relaxed);
    Ok(())
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn open(folder: &Path, path: &str) -> Option<std::fs::File> {
    let below = PathBuf::from(path.strip_prefix("/v1/")?);
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| std::fs::File::open(folder.join(below)).ok())?
}

struct Request {
    is_head: bool,
    path: String,
    /// What follows `bytes=`.
    range: Option<String>,
}

fn read_request(stream: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let is_head = line.starts_with("HEAD ");
    let path = line.split(' ').nth(1).ok_or(io::ErrorKind::InvalidData)?.to_owned();
    let mut range = None;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.trim().to_ascii_lowercase();
        if let Some(asked) = header.strip_prefix("range: bytes=") {
            range = Some(asked.to_owned());
        }
        if header.is_empty() {
            return Ok(Request { is_head, path, range });
        }
    }
}
