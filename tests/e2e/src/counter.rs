//! How much a device fetches.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A proxy that counts the bytes that it passes on to the device.
#[derive(Clone, Debug)]
pub struct Counter {
    url: String,
    passed: Arc<(Mutex<u64>, Condvar)>,
}

impl Counter {
    /// Before a server at this address.
    ///
    /// # Errors
    /// When there is no port to listen at.
    pub fn before(server: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = server.trim_start_matches("http://").to_owned();
        let counter = Self { url, passed: Arc::default() };
        let of_thread = counter.clone();
        std::thread::spawn(move || {
            for device in listener.incoming().flatten() {
                let (counter, server) = (of_thread.clone(), server.clone());
                // Who hangs up has heard enough.
                std::thread::spawn(move || counter.pass(device, &server));
            }
        });
        Ok(counter)
    }

    /// Where a device finds it.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn pass(&self, mut device: TcpStream, server: &str) -> io::Result<()> {
        let mut server = TcpStream::connect(server)?;
        let (mut asks, mut of_server) = (device.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            let _ = io::copy(&mut asks, &mut of_server);
            of_server.shutdown(std::net::Shutdown::Both)
        });
        let mut piece = [0; 16 << 10];
        loop {
            let len = server.read(&mut piece)?;
            if len == 0 {
                return device.shutdown(std::net::Shutdown::Both);
            }
            device.write_all(&piece[..len])?;
            *self.passed.0.lock().unwrap_or_else(PoisonError::into_inner) += len as u64;
            self.passed.1.notify_all();
        }
    }

    /// Bytes that it has passed on.
    pub fn passed(&self) -> u64 {
        *self.passed.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many bytes have passed in all, or a moment; whether they have.
    pub fn reaches(&self, bytes: u64) -> bool {
        let passed = self.passed.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = Duration::from_millis(20);
        let waited = self.passed.1.wait_timeout_while(passed, moment, |passed| *passed < bytes);
        *waited.unwrap_or_else(PoisonError::into_inner).0 >= bytes
    }
}
