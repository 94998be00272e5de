//! Who listens: how many in all, and how many from each address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use metrics::{counter, gauge};
use parking_lot::Mutex;
use poem::{Request, http::StatusCode};

use crate::{api::problem::Fault, metrics::names};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Events,
    WebSocket,
}

impl Transport {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Events => "sse",
            Self::WebSocket => "websocket",
        }
    }
}

/// Bound: `max`; full: further ones are refused.
pub(super) struct Clients {
    max: usize,
    per_address_max: usize,
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    count: usize,
    /// Bound: those present.
    addresses: HashMap<IpAddr, usize>,
}

/// One client's place. Dropped: free again.
pub(super) struct Place {
    clients: Arc<Clients>,
    address: Option<IpAddr>,
    pub(super) transport: Transport,
}

impl Clients {
    /// `per_address_max` 0: any number.
    pub(super) fn new(max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { max, per_address_max, present: Mutex::default() })
    }

    pub(super) fn enter(
        self: &Arc<Self>,
        request: &Request,
        transport: Transport,
    ) -> Result<Place, Fault> {
        let address = request.remote_addr().as_socket_addr().map(|address| group(address.ip()));
        let mut present = self.present.lock();
        if present.count >= self.max {
            return Err(refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "full",
                "there are too many streams",
            ));
        }
        if let Some(address) = address {
            let from_there = present.addresses.get(&address).copied().unwrap_or_default();
            if self.per_address_max > 0 && from_there >= self.per_address_max {
                let detail = "there are too many streams from this address";
                return Err(refused(StatusCode::TOO_MANY_REQUESTS, "address", detail));
            }
            present.addresses.insert(address, from_there + 1);
        }
        present.count += 1;
        gauge!(names::STREAM_CLIENTS, "transport" => transport.label()).increment(1.0);
        Ok(Place { clients: self.clone(), address, transport })
    }
}

fn refused(status: StatusCode, reason: &'static str, detail: &str) -> Fault {
    counter!(names::STREAM_REFUSED, "reason" => reason).increment(1);
    Fault::new(status, detail)
}

/// Of IPv6 the /64: a client has all of it.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(names::STREAM_CLIENTS, "transport" => self.transport.label()).decrement(1.0);
        let mut present = self.clients.present.lock();
        present.count -= 1;
        let Some(address) = self.address else { return };
        match present.addresses.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                present.addresses.remove(&address);
            }
        }
    }
}
