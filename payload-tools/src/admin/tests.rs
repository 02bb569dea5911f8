use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::Instant;

use super::*;

const SHORT: Duration = Duration::from_millis(50);
/// More than two systems hold for a connection, so that sending waits for the other side to read.
const LARGE: u64 = 24 << 20;

/// A client of whoever handles one connection.
fn client(patience: Patience, handle: impl FnOnce(TcpStream) + Send + 'static) -> AdminClient {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || handle(listener.accept().unwrap().0));
    AdminClient::patient(&base, "secret", patience).unwrap()
}

fn impatient() -> Patience {
    Patience { answer: SHORT, ..PATIENCE }
}

/// Reads a request's head, to its last byte.
fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
}

fn zeroes(length: u64) -> impl Iterator<Item = io::Result<Vec<u8>>> + Send {
    const CHUNK: u64 = 256 << 10;
    (0..length / CHUNK).map(|_| Ok(vec![0; CHUNK as usize]))
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn what_is_no_url_is_said_at_once() {
    for wrong in ["127.0.0.1:8080", "localhost:8080", "updates.example.com", "", "ftp://x"] {
        let error = AdminClient::new(wrong, "secret").unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{wrong}` is no http:// or https:// URL")), "{error}");
    }
    AdminClient::new("https://updates.example.com/seesaw/", "secret").unwrap();
}

#[test]
fn a_server_that_never_answers_is_not_waited_for() {
    let client = client(impatient(), |mut stream| {
        // Ends when the client gives up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = block_on(client.admin(Method::GET, "channels").accepted()).unwrap_err();
    assert!(matches!(error, AdminError::Unreachable { .. }), "{error:?}");
}

/// A read timeout would run through the whole of an upload.
#[test]
fn an_upload_lasts_as_long_as_the_server_takes_some_of_it() {
    let limit = Duration::from_secs(1);
    let patience = Patience { connect: limit, answer: limit, sign: limit, end: limit };
    let client = client(patience, move |mut stream| {
        read_head(&mut stream);
        let mut some = vec![0; 1 << 20];
        for _ in 0..LARGE >> 20 {
            sleep(limit / 12);
            stream.read_exact(&mut some).unwrap();
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    });
    let begun = Instant::now();
    let answer = block_on(client.upload("images/x/full", LARGE, zeroes(LARGE)).accepted());
    assert_eq!(answer.unwrap().status(), StatusCode::NO_CONTENT);
    assert!(begun.elapsed() > limit * 3 / 2, "{:?}", begun.elapsed());
}

/// An upload of that length to a server that takes only the head, or everything, and then lies still.
fn upload_to_a_dead_end(length: u64, taken: u64) -> AdminError {
    let limit = Duration::from_millis(300);
    let (done, until) = mpsc::channel::<()>();
    let patience = Patience { sign: limit, end: limit, ..PATIENCE };
    let client = client(patience, move |mut stream| {
        read_head(&mut stream);
        io::copy(&mut Read::by_ref(&mut stream).take(taken), &mut io::sink()).unwrap();
        // Fails when the test is over.
        let _ = until.recv();
    });
    let error = block_on(client.upload("images/x/full", length, zeroes(length)).accepted());
    drop(done);
    error.unwrap_err()
}

#[test]
fn an_upload_ends_when_the_server_takes_nothing_more() {
    let error = upload_to_a_dead_end(LARGE, 0);
    assert!(matches!(error, AdminError::Stalled { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("/v1/admin/images/x/full took nothing more for 300ms"), "{said}");
}

#[test]
fn an_upload_ends_when_the_server_has_it_and_says_nothing() {
    for length in [0, 1 << 20] {
        let error = upload_to_a_dead_end(length, length);
        assert!(matches!(error, AdminError::Unanswered { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("all of its {length} bytes")), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_not_the_networks_fault() {
    let client = client(PATIENCE, |mut stream| {
        // Ends when the client gives up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let chunks = zeroes(1 << 20).chain([Err(io::ErrorKind::UnexpectedEof.into())]);
    let error = block_on(client.upload("images/x/full", LARGE, chunks).accepted()).unwrap_err();
    let AdminError::Unreadable { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_a_server_says_is_told_and_a_stranger_is_not_believed() {
    let says = |answer: &'static str| {
        let client = client(impatient(), move |mut stream| {
            let _request = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        block_on(client.admin(Method::GET, "channels").accepted()).unwrap_err()
    };
    let body = r#"{"error":{"code":"no_channel","message":"m","hint":"h"}}"#;
    let length = body.len();
    let refusal = format!("HTTP/1.1 409 Conflict\r\nContent-Length: {length}\r\n\r\n{body}");
    let refused = says(refusal.leak());
    assert_eq!(refused.to_string(), "m (no_channel); h");
    assert!(refused.is_conflict());
    let stranger = says("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno");
    assert!(matches!(stranger, AdminError::Stranger { .. }), "{stranger:?}");
}
