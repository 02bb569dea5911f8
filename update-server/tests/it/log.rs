//! What the log says of an operator's changes.

use std::io;
use std::sync::{Arc, Mutex};

use payload_tools::format::Hash;
use serde_json::json;

use crate::publisher::server_at;
use crate::server::DEVICE;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn changes_are_logged_in_words_with_whose_token() {
    let (server, _) = server_at(2).await;
    server.check(1, json!({})).await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _on_this_thread = tracing::subscriber::set_default(subscriber);
    let stable = "channels/demo-x86_64/stable";
    for change in [
        json!({ "release": "1" }),
        json!({ "pin": "2", "paused": true }),
        json!({ "pin": null, "default": true }),
    ] {
        server.admin_put(stable, change).await.ok();
    }
    let pin = format!("devices/{DEVICE}/pin");
    server.admin_put(&pin, json!({ "release": "2" })).await.ok();
    server.admin_put(&pin, json!({ "release": null })).await.ok();
    let manifest = format!("targets/demo-x86_64/{}.1.json", Hash::of(b"one"));
    server.upload(&manifest, b"one").await.ok();

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let changed = "channel changed compatible=demo-x86_64 channel=stable";
    let lines: Vec<_> = log.lines().collect();
    let expected = [
        format!("{changed} release=1"),
        format!("{changed} pin=\"2\" paused=true"),
        format!("{changed} pin=\"lifted\" default=true"),
        format!("device pin changed device={DEVICE} pin=\"2\""),
        format!("device pin changed device={DEVICE} pin=\"lifted\""),
        format!("uploaded file=\"{manifest}\""),
    ];
    assert_eq!(lines.len(), expected.len(), "{log}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains("operator{token=first}: ") && line.ends_with(&expected), "{line}");
    }
}
