//! A server behind TLS, as a proxy before it makes it, and certificates of any authority, name and
//! time.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use fs_err as fs;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::command::{Failure, succeed};
use crate::liar::Request;

/// A certificate authority of our own.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

/// What a certificate says.
#[derive(Clone, Copy, Debug)]
pub struct Certificate {
    /// Whose it is, as openssl(1) takes it.
    pub of: &'static str,
    /// When it begins, as faketime(1) takes it: `-1d`.
    pub begins: &'static str,
    /// How many days it lasts from then on.
    pub days: u32,
}

/// Of every server here, since yesterday.
pub const GOOD: Certificate = Certificate { of: "IP:127.0.0.1", begins: "-1d", days: 30 };

impl Authority {
    /// Makes an authority in a new folder, whose name it has. Only who has its certificate trusts it.
    ///
    /// # Errors
    /// When openssl(1) fails.
    pub fn found(folder: PathBuf) -> Result<Self, Failure> {
        fs::create_dir_all(&folder)?;
        let name = folder.file_name().unwrap_or_default().display().to_string();
        let authority = Self { folder };
        authority.make("authority", &name, "-2d", 3650, &[])?;
        Ok(authority)
    }

    /// Its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// A key and its certificate, in two files.
    fn make(
        &self,
        file: &str,
        name: &str,
        begins: &str,
        days: u32,
        args: &[&str],
    ) -> Result<(), Failure> {
        let file = |kind| self.folder.join(format!("{file}.{kind}"));
        let mut openssl = Command::new("faketime");
        openssl
            .args(["-f", begins, "openssl", "req", "-x509", "-noenc"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", &format!("/CN={name}"), "-days", &days.to_string()])
            .args(args)
            .arg("-keyout")
            .arg(file("key"))
            .arg("-out")
            .arg(file("pem"));
        succeed(&mut openssl).map(drop)
    }

    fn issue(&self, certificate: Certificate) -> Result<ServerConfig, Failure> {
        let Certificate { of, begins, days } = certificate;
        let [own, key] = ["authority.pem", "authority.key"].map(|name| self.folder.join(name));
        let (own, key) = (own.display().to_string(), key.display().to_string());
        let name = format!("subjectAltName={of}");
        let no_authority = "basicConstraints=critical,CA:FALSE";
        let signed = ["-CA", &own, "-CAkey", &key, "-addext", &name, "-addext", no_authority];
        self.make("server", "server", begins, days, &signed)?;
        let chain = CertificateDer::from_pem_file(self.folder.join("server.pem"));
        let key = PrivateKeyDer::from_pem_file(self.folder.join("server.key"));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(
                vec![chain.map_err(io::Error::other)?],
                key.map_err(io::Error::other)?,
            );
        Ok(config.map_err(io::Error::other)?)
    }
}

/// Speaks TLS on behalf of a server.
#[derive(Clone, Debug)]
pub struct TlsProxy {
    url: String,
    server: String,
    config: Arc<ServerConfig>,
}

impl TlsProxy {
    /// Listens for as long as the process runs, with a new certificate. `server` is
    /// `http://ADDRESS:PORT`.
    ///
    /// # Errors
    /// When openssl(1) fails, or there is no port to listen on.
    pub fn before(
        server: &str,
        authority: &Authority,
        certificate: Certificate,
    ) -> Result<Self, Failure> {
        let config = Arc::new(authority.issue(certificate)?);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("https://{}", listener.local_addr()?);
        let server = server.trim_start_matches("http://").to_owned();
        let proxy = Self { url, server, config };
        let of_thread = proxy.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let proxy = of_thread.clone();
                // A device that does not trust it hangs up.
                std::thread::spawn(move || proxy.answer(stream));
            }
        });
        Ok(proxy)
    }

    /// Where a device finds it.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn answer(&self, stream: TcpStream) -> io::Result<()> {
        let session = ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, stream);
        let request = Request::read(&mut stream)?;
        stream.write_all(&request.ask(&self.server)?)?;
        stream.conn.send_close_notify();
        stream.flush()
    }
}
