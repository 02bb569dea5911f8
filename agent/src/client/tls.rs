use std::error::Error;
use std::io;
use std::sync::Arc;

use payload_tools::trust::UnixTime;
use reqwest::{Client, ClientBuilder};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{CertificateError, ClientConfig, RootCertStore, pki_types};
use rustls_platform_verifier::Verifier;

/// By what a server proves to this device that it is the one of its URL: TLS by rustls and ring,
/// and the certificate authorities that the system trusts.
#[derive(Debug, Clone)]
pub struct Tls {
    provider: Arc<CryptoProvider>,
    /// `None`: the system trusts nobody.
    verifier: Option<Arc<Verifier>>,
}

impl Tls {
    /// Reads whom the system trusts, which is done once in a program: what `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name; where neither is set, what lies where distributions put it. Without
    /// any, no https server is believed; http needs none.
    pub fn of_system() -> Self {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(provider.clone());
        let verifier = verifier.map(Arc::new).map_err(|error| tracing::info!("no https: {error}"));
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
        CertificateError::ExpiredContext { time, not_after } => {
            format!("it ended at {}, and by this device's clock it is {}", at(not_after), at(time))
        }
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "it begins at {}, and by this device's clock it is {}",
            at(not_before),
            at(time)
        ),
        other => other.to_string(),
    }
}

fn at(time: &pki_types::UnixTime) -> UnixTime {
    UnixTime::from_secs(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}
