//! Which MQTT clients are connected as whom, so that they can be cut when they may not be any more.
//!
//! Between the check of a password and the connection's being noted lies time, in which the password
//! may change. So cuts are remembered: whoever asked to be let in before a cut and is noted after it
//! may not stay.

use std::collections::{HashMap, VecDeque};

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::mqtt::{Client, ClientId, Identity};

/// Cuts that are remembered. A connection that was let in while this many came after its question is
/// taken for a cut one: it comes again and is asked anew.
const CUTS_MAX: usize = 1024;

#[derive(Default)]
pub struct Connections {
    noted: Mutex<Noted>,
}

/// Connections are numbered in the order in which they ask to be let in.
#[derive(Default)]
struct Noted {
    /// Bound: the broker's connections. Anonymous ones are not among them.
    by_identity: HashMap<Box<str>, Vec<Connection>, RandomState>,
    newest_asked: u64,
    /// The newest last; `CUTS_MAX`, the oldest makes room.
    cuts: VecDeque<Cut>,
    /// The number that the youngest cut without room had.
    forgotten: u64,
}

/// Its number within the process, and the client's id.
type Connection = (u64, ClientId);

struct Cut {
    identity: Box<str>,
    /// Of those that had asked by then, the newest.
    newest_asked: u64,
}

impl Connections {
    /// A client asks to be let in; nothing of who it is has been looked up.
    pub(super) fn asked(&self, connection: u64) {
        let mut noted = self.noted.lock();
        noted.newest_asked = noted.newest_asked.max(connection);
    }

    /// Whether the client may stay: `false` where its identity was cut since it asked.
    pub fn opened(&self, client: &Client) -> bool {
        let Some(identity) = client.identity.0.as_deref() else { return true };
        let mut noted = self.noted.lock();
        let theirs = noted.by_identity.entry(identity.into()).or_default();
        theirs.push((client.connection, client.client_id.clone()));
        !noted.is_cut(identity, client.connection)
    }

    pub fn closed(&self, client: &Client) {
        let Some(identity) = client.identity.0.as_deref() else { return };
        let mut noted = self.noted.lock();
        if let Some(theirs) = noted.by_identity.get_mut(identity) {
            theirs.retain(|(connection, _)| *connection != client.connection);
            if theirs.is_empty() {
                noted.by_identity.remove(identity);
            }
        }
    }

    /// The client ids of those whose identity is not let in any more.
    pub fn where_not(&self, is_admitted: impl Fn(&Identity) -> bool) -> Vec<ClientId> {
        let identities: Vec<Identity> = {
            let noted = self.noted.lock();
            noted.by_identity.keys().map(|key| Identity(Some((&**key).into()))).collect()
        };
        let refused = identities.iter().filter(|identity| !is_admitted(identity));
        let of = |identity: &Identity| {
            self.noted.lock().clients(identity.0.as_deref().unwrap_or_default())
        };
        refused.flat_map(of).collect()
    }

    /// The client ids of an identity's connections, to be ended; those that are being let in as it
    /// will not stay. To be called once it would not be let in as it was.
    pub(super) fn cut(&self, identity: &str) -> Vec<ClientId> {
        let mut noted = self.noted.lock();
        if noted.cuts.len() >= CUTS_MAX
            && let Some(oldest) = noted.cuts.pop_front()
        {
            noted.forgotten = oldest.newest_asked;
        }
        let newest_asked = noted.newest_asked;
        noted.cuts.push_back(Cut { identity: identity.into(), newest_asked });
        noted.clients(identity)
    }
}

impl Noted {
    fn is_cut(&self, identity: &str, connection: u64) -> bool {
        let after = self.cuts.iter().rev().take_while(|cut| cut.newest_asked >= connection);
        connection <= self.forgotten || after.into_iter().any(|cut| *cut.identity == *identity)
    }

    fn clients(&self, identity: &str) -> Vec<ClientId> {
        let theirs = self.by_identity.get(identity).into_iter().flatten();
        theirs.map(|(_, client)| client.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::Version;

    fn client(connection: u64, identity: &str) -> Client {
        Client {
            connection,
            client_id: format!("c{connection}").as_str().into(),
            identity: Identity(Some(identity.into())),
            version: Version::V5,
            peer: ([127, 0, 0, 1], 1).into(),
            packet_size_max: 1,
            clean_start: true,
            session_is_persistent: false,
        }
    }

    #[test]
    fn who_asked_before_a_cut_and_is_noted_after_it_may_not_stay() {
        let connections = Connections::default();
        for connection in 1..=3 {
            connections.asked(connection);
        }
        assert!(connections.opened(&client(1, "user:ann")), "before");
        assert_eq!(connections.cut("user:ann").len(), 1);
        assert!(!connections.opened(&client(2, "user:ann")), "meanwhile");
        assert!(connections.opened(&client(3, "user:bob")), "another");
        connections.asked(4);
        assert!(connections.opened(&client(4, "user:ann")), "after");
        assert_eq!(connections.cut("user:ann").len(), 3);
        for connection in [1, 2, 4] {
            connections.closed(&client(connection, "user:ann"));
        }
        assert_eq!(connections.cut("user:ann").len(), 0);
    }

    #[test]
    fn who_asked_before_more_cuts_than_are_remembered_may_not_stay() {
        let connections = Connections::default();
        connections.asked(1);
        connections.cut("user:ann");
        connections.asked(2);
        for _ in 0..CUTS_MAX - 1 {
            connections.cut("user:bob");
        }
        assert!(connections.opened(&client(1, "user:eve")));
        connections.cut("user:bob");
        assert!(!connections.opened(&client(1, "user:eve")), "it might be the forgotten one's");
        assert!(connections.opened(&client(2, "user:eve")));
    }
}
