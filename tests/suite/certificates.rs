//! Certificates made for a test, in a folder of their own, and clients that go by them.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
        version::{TLS12, TLS13},
    },
};

/// An authority and what it has issued.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// What a client shows.
pub(crate) struct Shown {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Authority {
    /// Writes `ca.pem`, `server.pem` and `server.key`.
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "an authority");
        let certificate = parameters.self_signed(&key).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let certificate = certificate.der().clone();
        let authority = Self { folder, issuer: Issuer::new(parameters, key), certificate };
        authority.renew("server");
        authority
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key` anew, for this machine; gives the certificate.
    pub(crate) fn renew(&self, name: &str) -> CertificateDer<'static> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(names).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    /// A client's certificate.
    pub(crate) fn issue(&self, common_name: &str) -> Shown {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Shown { certificate: certificate.der().clone(), key }
    }

    /// The keys of a listener: `more` is TOML that follows `address` and `transport`.
    pub(crate) fn listener(&self, transport: &str, more: &str) -> String {
        let (certificate, key) = (self.path("server.pem"), self.path("server.key"));
        format!(
            "{{ address = \"127.0.0.1:0\", transport = \"{transport}\", certificate = {certificate:?}, \
             key = {key:?}{more} }}"
        )
    }

    pub(crate) fn client_ca(&self) -> String {
        format!(", client_ca = {:?}", self.path("ca.pem"))
    }

    /// A TLS connection; `Err`: the handshake failed.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        shown: Option<Shown>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_by(address, shown, &[&TLS12, &TLS13]).await
    }

    pub(crate) async fn connect_by(
        &self,
        address: SocketAddr,
        shown: Option<Shown>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        handshake(address, self.config(shown, versions)).await
    }

    /// A TLS connection of a client that speaks these protocols (ALPN).
    pub(crate) async fn connect_for(
        &self,
        address: SocketAddr,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = self.config(None, &[&TLS12, &TLS13]);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        handshake(address, config).await
    }

    fn config(
        &self,
        shown: Option<Shown>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match shown {
            None => builder.with_no_client_auth(),
            Some(Shown { certificate, key }) => {
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        }
    }
}

async fn handshake(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(address.ip().to_string()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// What the server showed.
pub(crate) fn shown_by_server(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}
