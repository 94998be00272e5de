//! Listeners beyond `mqtt.listen` and `http.listen`: transport, certificates, who may connect.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    quantity::Bytes,
    settings::{Anonymous, Http, Mqtt, is_loopback},
};
use crate::tls::{ClientCertificates, TlsFiles, TlsServer};

const DEFAULT_PATH: &str = "/mqtt";

/// One of `mqtt.listeners`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttListener {
    pub address: SocketAddr,
    pub transport: Transport,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<Asked>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<Origin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_anonymous: Option<Anonymous>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_packet_size: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_from: Vec<Network>,
}

/// One of `http.listeners`: REST over TLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpListener {
    pub address: SocketAddr,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Tcp,
    Tls,
    Ws,
    Wss,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    None,
    Optional,
    Required,
}

/// Addresses, such as `192.168.0.0/16`, or one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(pub IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let network = IpNet::from_str(&text).ok();
        network
            .or_else(|| IpAddr::from_str(&text).ok().map(IpNet::from))
            .map(|network| Self(network.trunc()))
            .ok_or_else(|| {
                format!("{text:?} is no network; expected one such as \"192.168.0.0/16\"")
            })
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// Whose web pages, as a browser writes it: `https://panel.example`, or `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(pub String);

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_origin = text.split_once("://").is_some_and(|(scheme, authority)| {
            let (host, port) = match authority.rsplit_once(':') {
                Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
                _ => (authority, None),
            };
            !scheme.is_empty()
                && !host.is_empty()
                && !text.contains(|c: char| c.is_whitespace() || "*?#@".contains(c))
                && !authority.contains('/')
                && port.is_none_or(|port| port.parse::<u16>().is_ok())
        });
        if is_origin || text == "*" {
            return Ok(Self(text));
        }
        Err(format!(
            "{text:?} is no origin; expected one such as \"https://panel.example\", or \"*\""
        ))
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

impl Transport {
    pub fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    fn is_web_socket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Mqtt {
    /// Whether clients without credentials may use `mqtt.listen`.
    pub fn is_open(&self) -> bool {
        self.opens(self.allow_anonymous, is_loopback(&self.listen))
    }

    /// Whether clients without credentials may use one of `mqtt.listeners`.
    pub fn listener_is_open(&self, listener: &MqttListener) -> bool {
        let is_local = listener.address.ip().is_loopback() && is_loopback(&self.listen);
        self.opens(listener.allow_anonymous.unwrap_or(self.allow_anonymous), is_local)
    }

    fn opens(&self, anonymous: Anonymous, is_local: bool) -> bool {
        match anonymous {
            Anonymous::Loopback => is_local,
            Anonymous::Yes => true,
            Anonymous::No => false,
        }
    }
}

impl Http {
    /// Whether it can be reached from this machine only.
    pub fn is_local(&self) -> bool {
        let mut listeners = self.listeners.iter();
        is_loopback(&self.listen) && listeners.all(|listener| listener.address.ip().is_loopback())
    }
}

impl HttpListener {
    pub fn tls_files(&self) -> TlsFiles {
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        TlsFiles { certificate, key, clients: ClientCertificates::None }
    }

    /// The first mistake: the key it belongs to, relative to the listener, and what is wrong.
    pub(super) fn mistake(&self) -> Option<(&'static str, String)> {
        let error = TlsServer::load(self.tls_files()).err()?;
        Some((error.part.key(), error.to_string()))
    }
}

impl MqttListener {
    /// What its TLS needs; `None` where it has none. The configuration has been checked.
    pub fn tls_files(&self) -> Option<TlsFiles> {
        let (certificate, key) = self.certificate.clone().zip(self.key.clone())?;
        let clients = match (self.client_certificates, self.client_ca.clone()) {
            (Some(Asked::Optional), Some(ca)) => ClientCertificates::Optional(ca),
            (Some(Asked::Required), Some(ca)) => ClientCertificates::Required(ca),
            _ => ClientCertificates::None,
        };
        Some(TlsFiles { certificate, key, clients })
    }

    /// The path of its WebSocket; `None` where it has none.
    pub fn web_socket_path(&self) -> Option<&str> {
        let path = self.path.as_deref().unwrap_or(DEFAULT_PATH);
        self.transport.is_web_socket().then_some(path)
    }

    /// The first mistake: the key it belongs to, relative to the listener, and what is wrong.
    pub(super) fn mistake(&self) -> Option<(&'static str, String)> {
        self.misplaced_key()
            .or_else(|| self.incomplete_tls())
            .or_else(|| self.out_of_range())
            .or_else(|| {
                let error = TlsServer::load(self.tls_files()?).err()?;
                Some((error.part.key(), error.to_string()))
            })
    }

    fn misplaced_key(&self) -> Option<(&'static str, String)> {
        let transport = self.transport;
        let of_tls = [
            ("certificate", self.certificate.is_some()),
            ("key", self.key.is_some()),
            ("client_ca", self.client_ca.is_some()),
            ("client_certificates", self.client_certificates.is_some()),
        ];
        let given = of_tls.iter().find(|(_, is_given)| *is_given);
        if let (false, Some((key, _))) = (transport.is_encrypted(), given) {
            return Some((
                key,
                format!("{key} is for transport \"tls\" or \"wss\", not for \"{transport}\""),
            ));
        }
        let of_web_sockets =
            [("path", self.path.is_some()), ("allow_origins", !self.allow_origins.is_empty())];
        let (key, _) = of_web_sockets.iter().find(|(_, is_given)| *is_given)?;
        (!transport.is_web_socket()).then(|| {
            (*key, format!("{key} is for transport \"ws\" or \"wss\", not for \"{transport}\""))
        })
    }

    fn incomplete_tls(&self) -> Option<(&'static str, String)> {
        if !self.transport.is_encrypted() {
            return None;
        }
        for (key, file) in [("certificate", &self.certificate), ("key", &self.key)] {
            if file.is_none() {
                let transport = self.transport;
                let what = format!("transport \"{transport}\" needs {key}, the path of a PEM file");
                return Some((key, what));
            }
        }
        match (self.client_certificates, &self.client_ca) {
            (Some(Asked::Optional | Asked::Required), None) => {
                let what = "asking for client certificates needs client_ca, the path of a PEM \
                            file with the authorities that they may come from";
                Some(("client_certificates", what.to_owned()))
            }
            (None | Some(Asked::None), Some(_)) => {
                let what = "client_ca needs client_certificates = \"optional\" or \"required\"";
                Some(("client_ca", what.to_owned()))
            }
            _ => None,
        }
    }

    fn out_of_range(&self) -> Option<(&'static str, String)> {
        if self.path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            return Some(("path", "path begins with \"/\"".to_owned()));
        }
        if self.max_connections == Some(0) {
            return Some(("max_connections", "max_connections must be at least 1".to_owned()));
        }
        None
    }
}
