//! TLS towards servers of others: mail servers and webhooks.
//!
//! Trusts the system's certificates, read once when first needed (`SSL_CERT_FILE` and `SSL_CERT_DIR`
//! are honoured), and those that the caller brings.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// Certificates to be trusted besides the system's.
#[derive(Debug, Clone)]
pub struct TrustedCertificates(Vec<CertificateDer<'static>>);

impl TrustedCertificates {
    /// # Errors
    /// What is wrong with the text.
    pub fn read(pem: &str) -> Result<Self, String> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("it is not PEM: {error}"))?;
        if certificates.is_empty() {
            return Err("it holds no certificate in PEM form".to_owned());
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| error.to_string())?;
        }
        Ok(Self(certificates))
    }
}

#[derive(Debug, Default)]
pub struct TlsClient {
    system: OnceCell<RootCertStore>,
}

impl TlsClient {
    /// Shakes hands over `stream` with the server that is to have the name or address `host`.
    ///
    /// # Errors
    /// When it isn't that server, or the handshake fails.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        trusted: Option<&TrustedCertificates>,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let mut roots = self.system.get_or_try_init(system_certificates).await?.clone();
        for certificate in trusted.into_iter().flat_map(|trusted| &trusted.0) {
            roots.add(certificate.clone()).map_err(io::Error::other)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// Those that can't be read are left out: the handshake says what is missing.
async fn system_certificates() -> io::Result<RootCertStore> {
    let load = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    };
    tokio::task::spawn_blocking(load).await.map_err(io::Error::other)
}
