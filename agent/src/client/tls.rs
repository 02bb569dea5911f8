use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use payload_tools::trust::UnixTime;
use reqwest::{Client, ClientBuilder};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{self, CertificateDer, ServerName};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::Verifier;

use super::Anchor;

/// By what a server proves to this device that it is the one of its URL: TLS by rustls and ring,
/// the certificate authorities that the system trusts, and the device's time.
#[derive(Debug, Clone)]
pub struct Tls {
    provider: Arc<CryptoProvider>,
    /// `None`: the system trusts nobody.
    verifier: Option<Arc<Timely>>,
}

impl Tls {
    /// Reads whom the system trusts, which is done once in a program: what `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name; where neither is set, what lies where distributions put it. Without
    /// any, no https server is believed; http needs none. The time is that of `anchor`, or else the
    /// system's.
    pub fn of_system(anchor: Option<Arc<Anchor>>) -> Self {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(provider.clone());
        let verifier = verifier.map(|inner| Arc::new(Timely { inner, anchor }));
        let verifier = verifier.map_err(|error| tracing::info!("no https: {error}"));
        Self { provider, verifier: verifier.ok() }
    }

    /// A client that asks directly, whatever proxies the environment names.
    ///
    /// # Errors
    /// TLS could not be set up.
    pub fn client(&self) -> Result<ClientBuilder, rustls::Error> {
        Ok(Client::builder().no_proxy().tls_backend_preconfigured(self.config()?))
    }

    fn config(&self) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match self.verifier.clone() {
            // Dangerous are verifiers of one's own.
            Some(verifier) => builder.dangerous().with_custom_certificate_verifier(verifier),
            None => builder.with_root_certificates(RootCertStore::empty()),
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Judges certificates as the system does, and by the time that this device's checks go by.
#[derive(Debug)]
struct Timely {
    inner: Verifier,
    anchor: Option<Arc<Anchor>>,
}

impl ServerCertVerifier for Timely {
    /// What has ended by that time may be valid by the device's own clock: who stole the server's
    /// timestamp key can date the device past the certificate, and must not keep it from the root
    /// that takes back his word.
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: pki_types::UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judge =
            |now| self.inner.verify_server_cert(certificate, intermediates, name, ocsp, now);
        let Some(anchor) = &self.anchor else { return judge(now) };
        judge(rustls_time(anchor.now())).or_else(|error| match error {
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => judge(rustls_time(anchor.now_by_own_clock())).map_err(|_| error),
            _ => Err(error),
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn rustls_time(time: UnixTime) -> pki_types::UnixTime {
    let seconds = u64::try_from(time.as_secs()).unwrap_or_default();
    pki_types::UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// Why a server's certificate was refused, where it is that what a request met.
pub(super) fn refusal(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(words(why));
        }
        // An io::Error does not name what it wraps as its source.
        let wrapped = error.downcast_ref().and_then(io::Error::get_ref);
        cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped));
    }
    None
}

fn words(why: &CertificateError) -> String {
    match why {
        // Of one that has the name of one that is trusted, the signature is bad.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no authority that this device trusts has signed it: put its certificate into \
             /etc/ssl/certs of the image"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("it is of {}, and not of this server", presented.join(", "))
        }
        CertificateError::ExpiredContext { time, not_after } => format!(
            "it ended at {}, and this device takes it to be {}: renew it, or set the device's clock",
            at(not_after),
            at(time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "it begins at {}, and this device takes it to be {}: most likely its clock is behind; \
             set it, or let a device without a clock ask an http server",
            at(not_before),
            at(time)
        ),
        other => other.to_string(),
    }
}

fn at(time: &pki_types::UnixTime) -> UnixTime {
    UnixTime::from_secs(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}
