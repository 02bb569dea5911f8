//! Who may hold the server's sockets, and for how long without a move.
//!
//! A download ends when its peer stops reading, whoever that is: nothing here is authenticated.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::serve::Listener;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Each may hold 256 KiB of a body, or about 0.5 MiB of an answer that nobody reads.
const CONNECTIONS_MAX: usize = 2048;
/// A download has a socket and a file.
const FILES_PER_CONNECTION: u64 = 2;
/// The store, the log, the listener, uploads.
const FILES_BESIDE: u64 = 128;
/// How often it is said that no more connections are taken.
const COMPLAINT_PERIOD: Duration = Duration::from_secs(60);

/// What peers are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections; more wait in the system's queue.
    pub connections: usize,
    /// How long a peer may take nothing of what it is sent.
    pub stall: Duration,
    /// How long nothing at all may move: between two requests, or while an upload is synced.
    pub idle: Duration,
}

impl ConnectionLimits {
    /// What this process can serve, after its own limit of open files was raised as far as it may.
    pub fn of_process() -> Self {
        let files = open_files_raised().unwrap_or(u64::MAX);
        let room = files.saturating_sub(FILES_BESIDE) / FILES_PER_CONNECTION;
        let connections = usize::try_from(room).unwrap_or(usize::MAX).clamp(16, CONNECTIONS_MAX);
        Self { connections, stall: Duration::from_secs(60), idle: Duration::from_secs(300) }
    }
}

/// Files that this process may have open from now on; `None`: as many as it likes.
fn open_files_raised() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files was not raised");
            current
        }
    }
}

/// A listener that keeps to [`ConnectionLimits`].
#[derive(Debug)]
pub struct LimitedListener {
    listener: TcpListener,
    limits: ConnectionLimits,
    free: Arc<Semaphore>,
    complained: Option<Instant>,
}

impl LimitedListener {
    /// Takes connections of `listener` within `limits`.
    pub fn new(listener: TcpListener, limits: ConnectionLimits) -> Self {
        let free = Arc::new(Semaphore::new(limits.connections));
        Self { listener, limits, free, complained: None }
    }

    async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAINT_PERIOD) {
            self.complained = Some(Instant::now());
            tracing::warn!(open = self.limits.connections, "no more connections are taken for now");
        }
        // Fails only when closed, which nobody does.
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

impl Listener for LimitedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = self.permit().await;
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // The end of an answer does not wait until its beginning is acknowledged. A socket that
        // cannot be told so answers all the same.
        let _ = stream.set_nodelay(true);
        let (stall, idle) = (Patience::of(self.limits.stall), Patience::of(self.limits.idle));
        (Connection { stream, stall, idle, _permit: permit }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when its peer makes no move for too long.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    stall: Patience,
    idle: Patience,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Runs only while something is awaited.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    left: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn of(limit: Duration) -> Self {
        Self { limit, left: None }
    }

    fn renew(&mut self) {
        self.left = None;
    }

    fn poll_end<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let limit = self.limit;
        let left = self.left.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(left.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending => self.idle.poll_end(cx),
            read => {
                self.idle.renew();
                read
            }
        }
    }
}

impl Connection {
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match written {
            Poll::Pending => self.stall.poll_end(cx),
            written => {
                self.stall.renew();
                // A peer that reads what it asked for need not write.
                self.idle.renew();
                written
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LONG: Duration = Duration::from_secs(300);
    const SHORT: Duration = Duration::from_millis(20);

    async fn listen(connections: usize, stall: Duration, idle: Duration) -> LimitedListener {
        let address = (IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let listener = TcpListener::bind(address).await.unwrap();
        LimitedListener::new(listener, ConnectionLimits { connections, stall, idle })
    }

    async fn connect(listener: &mut LimitedListener) -> (TcpStream, Connection) {
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (peer, listener.accept().await.0)
    }

    #[tokio::test]
    async fn a_connection_too_many_waits_for_another_to_end() {
        let mut listener = listen(1, LONG, LONG).await;
        let (_peer, first) = connect(&mut listener).await;
        let _second = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        {
            let mut accepting = std::pin::pin!(listener.accept());
            assert!(tokio::time::timeout(SHORT, &mut accepting).await.is_err());
            drop(first);
            accepting.await;
        }
    }

    #[tokio::test]
    async fn a_peer_that_stops_reading_is_left() {
        let mut listener = listen(1, SHORT, LONG).await;
        let (_peer, mut connection) = connect(&mut listener).await;
        let endless = async { while connection.write_all(&[0; 1 << 16]).await.is_ok() {} };
        tokio::time::timeout(LONG / 10, endless).await.unwrap();
        let error = connection.write_all(&[0; 1 << 16]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_left() {
        let mut listener = listen(1, LONG, SHORT).await;
        let (mut peer, mut connection) = connect(&mut listener).await;
        peer.write_all(b"x").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'x');
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
