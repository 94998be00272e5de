//! Who gets a message, decided before it is stored and carried out after.
//!
//! Planning takes positions and packet ids in the sessions that are stored, so that their rows can be
//! written with whatever else the message brings; carrying it out pushes the deliveries. A plan that
//! is dropped gives the ids back.

use std::sync::Arc;

use super::{journal::Change, publication::Publication, queue::Delivery, session::Session};

#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) publication: Arc<Publication>,
    pub(super) deliveries: Vec<(Arc<Session>, Delivery)>,
    pub(super) changes: Vec<Change>,
}

impl Plan {
    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        for (session, delivery) in self.deliveries.drain(..) {
            if let Some(stored) = &delivery.stored {
                session.lock().inflight.give_back(stored.packet_id);
            }
        }
    }
}
