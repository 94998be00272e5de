//! What the rest of the process holds of the notifications: the targets and silences as they stand,
//! and the bell.

use std::sync::{Arc, atomic::AtomicBool};

use tokio::sync::{Mutex, watch};

use super::{Routing, Silence, Target};

#[derive(Debug, Clone)]
pub struct Notifier {
    routing: Arc<watch::Sender<Arc<Routing>>>,
    /// Counts the rings; a lane that reads hears of a ring that came meanwhile.
    bell: Arc<watch::Sender<u64>>,
    /// Held from the reading of the store to the taking over of what it says.
    pub(super) reloading: Arc<Mutex<()>>,
    /// The store has something that could not be read.
    pub(super) is_stale: Arc<AtomicBool>,
}

impl Notifier {
    pub fn new(routing: Routing) -> Self {
        Self {
            routing: Arc::new(watch::Sender::new(Arc::new(routing))),
            bell: Arc::new(watch::Sender::new(0)),
            reloading: Arc::default(),
            is_stale: Arc::default(),
        }
    }

    /// Rows were made: to be called after the commit, from any thread; it does not block.
    pub fn wake(&self) {
        self.bell.send_modify(|rings| *rings = rings.wrapping_add(1));
    }

    pub fn routing(&self) -> Arc<Routing> {
        self.routing.borrow().clone()
    }

    pub fn set_targets(&self, targets: Vec<Arc<Target>>) {
        self.routing.send_modify(|routing| {
            *routing = Arc::new(Routing { targets, silences: routing.silences.clone() });
        });
    }

    pub fn set_silences(&self, silences: Vec<Silence>) {
        self.routing.send_modify(|routing| {
            *routing = Arc::new(Routing { targets: routing.targets.clone(), silences });
        });
        self.wake();
    }

    pub(super) fn rings(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }

    pub(super) fn changes(&self) -> watch::Receiver<Arc<Routing>> {
        self.routing.subscribe()
    }
}
