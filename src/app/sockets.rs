//! Every address that is listened on. They are bound before anything is made: a start that fails for one
//! of them leaves nothing behind.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use super::{AppError, wiring};
use crate::{
    api,
    config::{self, Settings},
    mqtt::{Broker, Listener, ListenerSettings},
    tls::TlsServer,
};

/// Bound, and not yet served: who connects meanwhile waits.
pub(super) struct Sockets {
    mqtt: Vec<(TcpListener, ListenerSettings)>,
    pub(super) http: Vec<api::Socket>,
    /// What SIGHUP reads again.
    pub(super) certificates: Vec<Arc<TlsServer>>,
}

impl Sockets {
    /// # Errors
    /// What is in the way of an address, or of a certificate.
    pub(super) async fn bind(settings: &Settings) -> Result<Self, AppError> {
        let mut certificates = Vec::new();
        let mqtt = mqtt(&settings.mqtt, &mut certificates).await?;
        let http = http(&settings.http, &mut certificates).await?;
        Ok(Self { mqtt, http, certificates })
    }

    /// The listeners of the broker; they are handed out once.
    pub(super) fn listeners(&mut self, broker: &Arc<Broker>) -> Vec<Listener> {
        let bound = self.mqtt.drain(..);
        bound.map(|(socket, terms)| Listener::new(socket, broker.clone(), terms)).collect()
    }
}

async fn mqtt(
    settings: &config::Mqtt,
    certificates: &mut Vec<Arc<TlsServer>>,
) -> Result<Vec<(TcpListener, ListenerSettings)>, AppError> {
    let mut bound = Vec::new();
    for address in &settings.listen {
        let socket = bind("mqtt.listen", *address).await?;
        bound.push((socket, wiring::plain_listener(settings)));
    }
    for listener in &settings.listeners {
        let socket = bind("mqtt.listeners", listener.address).await?;
        let terms = wiring::listener(settings, listener)
            .map_err(|error| AppError::Settings(format!("mqtt.listeners: {error}")))?;
        certificates.extend(terms.tls.clone());
        bound.push((socket, terms));
    }
    Ok(bound)
}

async fn http(
    settings: &config::Http,
    certificates: &mut Vec<Arc<TlsServer>>,
) -> Result<Vec<api::Socket>, AppError> {
    let made = |listener, tls| {
        api::Socket::new(listener, tls).map_err(|error| AppError::System(error.into()))
    };
    let mut sockets = Vec::new();
    for address in &settings.listen {
        sockets.push(made(bind("http.listen", *address).await?, None)?);
    }
    for listener in &settings.listeners {
        let socket = bind("http.listeners", listener.address).await?;
        let tls = TlsServer::load_for(listener.tls_files(), &api::PROTOCOLS)
            .map_err(|error| AppError::Settings(format!("http.listeners: {error}")))?;
        let tls = Arc::new(tls);
        certificates.push(tls.clone());
        sockets.push(made(socket, Some(tls))?);
    }
    Ok(sockets)
}

async fn bind(room: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(address).await.map_err(|error| AppError::Listen {
        room,
        address,
        reason: match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there; stop it, or choose another port".to_owned()
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege; choose a higher one".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
            _ => error.to_string(),
        },
    })
}
