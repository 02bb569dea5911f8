use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use serde_json::Value;

use crate::served::{Served, succeed};

const PUBLICATION: &[u8] = b"POST /v1/admin/metadata ";

/// A way to a server on which a publication waits until it is let through.
struct Gate {
    url: String,
    reached: mpsc::Receiver<()>,
    open: mpsc::Sender<()>,
}

impl Gate {
    fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = server.strip_prefix("http://").unwrap().to_owned();
        let (reach, reached) = mpsc::channel();
        let (open, opened) = mpsc::channel();
        let opened = Arc::new(Mutex::new(opened));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&server).unwrap();
                let (mut answers, mut back) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut answers, &mut back));
                let (reach, opened) = (reach.clone(), Arc::clone(&opened));
                thread::spawn(move || forward(client, server, &reach, &opened));
            }
        });
        Self { url, reached, open }
    }
}

/// Passes requests on; a client sends the head of each in one piece.
fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    reach: &mpsc::Sender<()>,
    opened: &Mutex<mpsc::Receiver<()>>,
) {
    let mut bytes = [0; 64 << 10];
    while let Ok(count @ 1..) = client.read(&mut bytes) {
        if bytes[..count].starts_with(PUBLICATION) {
            reach.send(()).unwrap();
            // Fails when the test has failed.
            let _ = opened.lock().unwrap().recv();
        }
        if server.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

#[test]
fn of_two_publishers_at_once_one_is_told_to_run_again() {
    let served = Served::new();
    let other = served.folder.path().join("other-publisher");
    succeed(Command::new("cp").arg("-a").arg(served.publisher()).arg(&other));
    let releases = [1, 2].map(|counter| served.release(counter));
    let gate = Gate::before(&served.url);
    let late = thread::scope(|scope| {
        let (other, release) = (&other, &releases[1]);
        let late = scope.spawn(|| served.publish_through(&gate.url, other, release, &["stable"]));
        gate.reached.recv().unwrap();
        served.publish(&releases[0], &["stable"]);
        gate.open.send(()).unwrap();
        late.join().unwrap()
    });
    assert_eq!(late.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&late.stdout).unwrap();
    let expected = ["someone published in between; run this again, it goes on from there"];
    assert_eq!(said["error"]["messages"], serde_json::json!(expected));
    assert_eq!(served.offered(), [1]);
    let again = served.publish_by(&other, &releases[1], &["stable"]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(served.offered(), [1, 2]);
}
