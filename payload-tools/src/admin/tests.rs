use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use futures_util::{StreamExt as _, stream};

use super::*;

const SHORT: Duration = Duration::from_millis(50);

/// A client of whoever handles one connection.
fn client(handle: impl FnOnce(TcpStream) + Send + 'static) -> AdminClient {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || handle(listener.accept().unwrap().0));
    let patience = Patience { answer: SHORT, ..PATIENCE };
    AdminClient::patient(&base, "secret", patience).unwrap()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_server_that_never_answers_is_not_waited_for() {
    let client = client(|mut stream| {
        // Ends when the client gives up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = block_on(client.admin(Method::GET, "channels").accepted()).unwrap_err();
    assert!(matches!(error, AdminError::Unreachable { .. }), "{error:?}");
}

/// In the middle of it the patience for an answer, begun after it, runs out.
#[test]
fn an_upload_may_take_longer_than_an_answer() {
    let client = client(|mut stream| {
        let mut received = Vec::new();
        while !received.ends_with(b"slow") {
            let mut some = [0; 1024];
            let count = stream.read(&mut some).unwrap();
            received.extend_from_slice(&some[..count]);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    });
    let unanswered = client.admin(Method::GET, "channels").accepted();
    let begin = stream::once(async { Ok::<_, std::io::Error>("sl") });
    let end = stream::once(async move {
        let error = unanswered.await.unwrap_err();
        assert!(matches!(error, AdminError::Unreachable { .. }), "{error:?}");
        Ok("ow")
    });
    let body = reqwest::Body::wrap_stream(begin.chain(end));
    let answer = block_on(client.upload("images/x/full", 4, body).accepted());
    assert_eq!(answer.unwrap().status(), StatusCode::NO_CONTENT);
}

#[test]
fn what_a_server_says_is_told_and_a_stranger_is_not_believed() {
    let says = |answer: &'static str| {
        let client = client(move |mut stream| {
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
