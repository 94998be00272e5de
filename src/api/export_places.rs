//! How many exports run at a time. Each reads the store for as long as its client takes to receive it.

use std::{net::IpAddr, sync::Arc};

use poem::{Request, http::StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    caller,
    problem::Fault,
    server::{Crowd, Seat},
};

/// At a time.
const EXPORTS_MAX: usize = 16;
/// The same of one address, which leaves room for others.
const OF_ONE_MAX: usize = 4;

/// Bound: [`EXPORTS_MAX`]; one more is refused.
pub(super) struct Places {
    all: Arc<Semaphore>,
    by_address: Crowd,
}

/// Of one export; given back when its file is sent, or its client gone.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _seat: Seat,
}

impl Default for Places {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(EXPORTS_MAX)), by_address: Crowd::default() }
    }
}

impl Places {
    /// # Errors
    /// What is told to one too many.
    pub(super) fn take(&self, request: &Request) -> Result<Place, Fault> {
        let address = caller::address(request);
        let address = address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let seat = self.by_address.enter(address, OF_ONE_MAX);
        let permit = self.all.clone().try_acquire_owned().ok();
        match (seat, permit) {
            (Some(seat), Some(permit)) => Ok(Place { _permit: permit, _seat: seat }),
            (None, _) => {
                Err(refusal(&format!("this address receives {OF_ONE_MAX} exports already")))
            }
            (_, None) => Err(refusal(&format!("{EXPORTS_MAX} exports are running already"))),
        }
    }
}

fn refusal(what: &str) -> Fault {
    let detail = format!("{what}; ask again when one of them has ended");
    Fault::new(StatusCode::TOO_MANY_REQUESTS, detail)
}
