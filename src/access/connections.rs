//! Which MQTT clients are connected as whom, so that they can be cut when they may not be any more.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::mqtt::{Client, ClientId, Identity};

/// Bound: the broker's connections. Anonymous ones are not among them.
#[derive(Default)]
pub struct Connections {
    by_identity: Mutex<HashMap<Box<str>, Vec<Connection>, RandomState>>,
}

/// Its number within the process, and the client's id.
type Connection = (u64, ClientId);

impl Connections {
    pub fn opened(&self, client: &Client) {
        if let Some(identity) = client.identity.0.as_deref() {
            let mut all = self.by_identity.lock();
            let theirs = all.entry(identity.into()).or_default();
            theirs.push((client.connection, client.client_id.clone()));
        }
    }

    pub fn closed(&self, client: &Client) {
        let Some(identity) = client.identity.0.as_deref() else { return };
        let mut all = self.by_identity.lock();
        if let Some(theirs) = all.get_mut(identity) {
            theirs.retain(|(connection, _)| *connection != client.connection);
            if theirs.is_empty() {
                all.remove(identity);
            }
        }
    }

    /// The client ids of those whose identity is not let in any more.
    pub fn where_not(&self, is_admitted: impl Fn(&Identity) -> bool) -> Vec<ClientId> {
        let identities: Vec<Identity> =
            self.by_identity.lock().keys().map(|key| Identity(Some((&**key).into()))).collect();
        let refused = identities.iter().filter(|identity| !is_admitted(identity));
        refused.flat_map(|identity| self.of(identity.0.as_deref().unwrap_or_default())).collect()
    }

    /// The client ids of an identity's connections.
    pub(super) fn of(&self, identity: &str) -> Vec<ClientId> {
        let all = self.by_identity.lock();
        let theirs = all.get(identity).into_iter().flatten();
        theirs.map(|(_, client)| client.clone()).collect()
    }
}
