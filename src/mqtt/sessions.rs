//! The sessions by client, and when those of absent clients are to be looked at: they expire, or
//! their will is due. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::{
    journal::SessionKey,
    packet::ClientId,
    publication::UnixMicros,
    reason::ReasonCode,
    router::Wakes,
    session::{Session, SessionState},
    will::SessionWill,
};

/// Bound: `sessions_max`, and connected clients.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_client: HashMap<ClientId, Arc<Session>, RandomState>,
    /// Of absent clients.
    deadlines: BTreeMap<(UnixMicros, u64), Arc<Session>>,
    endings: Arc<Endings>,
    /// Wills of sessions that ended with the process before; published by the first sweep.
    pub(super) orphaned_wills: Vec<SessionWill>,
}

/// What is due.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) wills: Vec<SessionWill>,
    pub(super) expired: Vec<Arc<Session>>,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    pub(super) fn get(&self, client_id: &str) -> Option<&Arc<Session>> {
        self.by_client.get(client_id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.by_client.values()
    }

    /// Whether the store has yet to be rid of a session that the client has ended.
    pub(super) fn is_ending(&self, client_id: &str) -> bool {
        self.endings.lock().contains_key(client_id)
    }

    pub(super) fn note_ending(&mut self, session: &Session) -> Ending {
        let (client_id, key) = (session.client_id.clone(), session.key);
        self.endings.lock().insert(client_id.clone(), key);
        Ending { client_id, key, all: self.endings.clone() }
    }

    pub(super) fn insert(&mut self, session: &Arc<Session>) {
        self.by_client.insert(session.client_id.clone(), session.clone());
    }

    /// Takes out the session, unless the client has another by now.
    pub(super) fn remove(&mut self, session: &Session) {
        let is_same = |known: &Arc<Session>| known.key == session.key;
        if self.by_client.get(&session.client_id).is_some_and(is_same) {
            self.by_client.remove(&session.client_id);
        }
        if self.by_client.is_empty() || self.by_client.capacity() > 4 * self.by_client.len() + 64 {
            self.by_client.shrink_to_fit();
        }
    }

    /// A connection wants the session: whoever serves it is sent away. Whether the session goes on.
    pub(super) fn take_from_connection(
        &mut self,
        session: &Session,
        clean_start: bool,
        wakes: &mut Wakes,
    ) -> bool {
        let mut state = session.lock();
        if let Some(at) = state.deadline.take() {
            self.deadlines.remove(&(at, session.key));
        }
        let served_by = state.link.take();
        let ends = clean_start || (served_by.is_some() && state.expiry == 0);
        let close =
            |link: Arc<super::link::Link>| link.request_close(ReasonCode::SESSION_TAKEN_OVER);
        wakes.push(served_by.and_then(close));
        !ends
    }

    /// The client is away: notes when the session is to be looked at.
    pub(super) fn note_deadline(&mut self, session: &Arc<Session>, state: &mut SessionState) {
        let will = state.will.as_ref().and_then(|will| will.due_at);
        state.deadline = match (state.expires_at, will) {
            (Some(expires), Some(will)) => Some(expires.min(will)),
            (one, other) => one.or(other),
        };
        if let Some(at) = state.deadline {
            self.deadlines.insert((at, session.key), session.clone());
        }
    }

    /// Takes out what has expired, and the wills that are due.
    pub(super) fn take_due(&mut self, now: UnixMicros) -> Due {
        let mut due = Due { wills: std::mem::take(&mut self.orphaned_wills), expired: Vec::new() };
        while let Some(entry) = self.deadlines.first_entry()
            && entry.key().0 <= now
        {
            let session = entry.remove();
            let mut state = session.lock();
            state.deadline = None;
            let has_expired = state.expires_at.is_some_and(|at| at <= now);
            let is_due =
                state.will.as_ref().and_then(|will| will.due_at).is_some_and(|at| at <= now);
            if has_expired || is_due {
                due.wills.extend(state.will.take());
            }
            if has_expired {
                drop(state);
                self.remove(&session);
                due.expired.push(session);
            } else {
                self.note_deadline(&session, &mut state);
            }
        }
        due
    }
}

/// Stored sessions that their clients have ended, until the store knows it.
type Endings = Mutex<HashMap<ClientId, SessionKey, RandomState>>;

/// One of [`Endings`]: until this is dropped, the client's next connection waits for the store, lest
/// a crash bring the session back to it.
#[derive(Debug)]
pub(crate) struct Ending {
    client_id: ClientId,
    key: SessionKey,
    all: Arc<Endings>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if all.get(&self.client_id) == Some(&self.key) {
            all.remove(&self.client_id);
        }
        if all.is_empty() {
            all.shrink_to_fit();
        }
    }
}
