//! TLS for listeners: from PEM files to what rustls wants, and again when the files have changed.
//!
//! Only rustls with the ring provider, named explicitly everywhere: no process-wide default is set or
//! used. TLS 1.2 and 1.3. A server whose files can't be read again goes on with what it has; several
//! servers change together or not at all. Nothing that belongs to an earlier configuration (tickets,
//! trusted authorities) is honoured by a later one.

mod client;
mod subject;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        Error, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
};

pub use client::{TlsClient, TrustedCertificates};
pub use subject::CertificateSubject;

/// The files of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub clients: ClientCertificates,
}

/// What is asked of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked for.
    None,
    /// Asked for; one that is shown must be from an authority in this file.
    Optional(PathBuf),
    /// A client without one is not let in.
    Required(PathBuf),
}

/// Which of the files is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Certificate,
    Key,
    ClientCa,
}

impl Part {
    /// The configuration's key for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::ClientCa => "client_ca",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("can't use the {} {}: {what}", part.key(), path.display())]
pub struct TlsError {
    pub part: Part,
    path: PathBuf,
    what: String,
}

/// What a listener's handshakes go by.
pub struct TlsServer {
    files: TlsFiles,
    protocols: &'static [&'static [u8]],
    current: RwLock<Arc<ServerConfig>>,
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("files", &self.files).finish_non_exhaustive()
    }
}

impl TlsServer {
    /// # Errors
    /// Names the file that is missing, unreadable or does not fit the others.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        Self::load_for(files, &[])
    }

    /// The same, for a listener that agrees on one of these protocols (ALPN), the first the best.
    ///
    /// # Errors
    /// As [`TlsServer::load`].
    pub fn load_for(
        files: TlsFiles,
        protocols: &'static [&'static [u8]],
    ) -> Result<Self, TlsError> {
        let current = RwLock::new(read(&files, protocols)?);
        Ok(Self { files, protocols, current })
    }

    /// For one handshake: later ones may go by other certificates.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.read().clone())
    }
}

/// Reads the files of all servers again. Connections that are open go on as they are.
///
/// # Errors
/// Names the first file at fault; every server then keeps what it had.
pub fn reload(servers: &[Arc<TlsServer>]) -> Result<(), TlsError> {
    let read: Vec<_> = servers
        .iter()
        .map(|server| read(&server.files, server.protocols))
        .collect::<Result<_, _>>()?;
    for (server, config) in servers.iter().zip(read) {
        *server.current.write() = config;
    }
    Ok(())
}

fn read(files: &TlsFiles, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(Part::Certificate, &files.certificate)?;
    let key = key(&files.key)?;
    let wrong = |part, path: &Path, what: String| TlsError { part, path: path.to_owned(), what };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(Part::Certificate, &files.certificate, error.to_string()))?;
    let builder = match verifier(&files.clients, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            let certificate = files.certificate.display();
            let what = format!("it does not belong to the certificate {certificate}");
            wrong(Part::Key, &files.key, what)
        }
        Error::InvalidCertificate(_) => {
            wrong(Part::Certificate, &files.certificate, error.to_string())
        }
        error => wrong(Part::Key, &files.key, error.to_string()),
    })?;
    // Tickets that carry their own state: a fleet that reconnects costs no memory here.
    config.ticketer =
        ring::Ticketer::new().map_err(|error| wrong(Part::Key, &files.key, error.to_string()))?;
    config.send_tls13_tickets = 1;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn verifier(
    clients: &ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let (path, is_required) = match clients {
        ClientCertificates::None => return Ok(None),
        ClientCertificates::Optional(path) => (path, false),
        ClientCertificates::Required(path) => (path, true),
    };
    let wrong = |what: String| TlsError { part: Part::ClientCa, path: path.clone(), what };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(Part::ClientCa, path)? {
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map(Some).map_err(|error| wrong(error.to_string()))
}

fn certificates(part: Part, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |what: String| TlsError { part, path: path.to_owned(), what };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(format!("it is not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(wrong("it holds no certificate in PEM form".to_owned()));
    }
    Ok(certificates)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let wrong = |what: String| TlsError { part: Part::Key, path: path.to_owned(), what };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong("it holds no private key in PEM form".to_owned()),
        error => wrong(format!("it is not PEM: {error}")),
    })
}
