//! The connections that are there, so that one that does nothing can make room for one that may.
//!
//! Bound: `max_connections`. Who holds connections open without a request holds up nobody: where there
//! is no room left, the one that has been there longest without a running request is asked to leave.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::timed::Pulse;

#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    next: u64,
    /// In the order of their coming.
    guests: BTreeMap<u64, Guest>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Guest {
    pub(super) pulse: Arc<Pulse>,
    /// Cancelled when it is to leave.
    pub(super) leave: CancellationToken,
}

/// An entry in the book; it goes when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    guests: Arc<Guests>,
    number: u64,
}

impl Guests {
    pub(super) fn enter(self: &Arc<Self>) -> (Guest, Entry) {
        let guest = Guest::default();
        let mut book = self.0.lock();
        let number = book.next;
        book.next += 1;
        book.guests.insert(number, guest.clone());
        (guest, Entry { guests: self.clone(), number })
    }

    /// Asks one to leave; `false`: all are busy.
    pub(super) fn dismiss_one(&self) -> bool {
        let mut book = self.0.lock();
        let idle = book.guests.iter().find(|(_, guest)| guest.pulse.is_idle());
        let Some(number) = idle.map(|(number, _)| *number) else { return false };
        if let Some(guest) = book.guests.remove(&number) {
            guest.leave.cancel();
        }
        true
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.guests.0.lock().guests.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_is_idle_longest_leaves_and_nobody_who_is_busy() {
        let guests = Arc::new(Guests::default());
        let (busy, _busy) = guests.enter();
        let beat = busy.pulse.begin(false);
        let (upgraded, _upgraded) = guests.enter();
        upgraded.pulse.upgrade();
        let (gone, entry) = guests.enter();
        drop(entry);
        let (first, _first) = guests.enter();
        let (second, _second) = guests.enter();
        assert!(guests.dismiss_one() && first.leave.is_cancelled());
        assert!(guests.dismiss_one() && second.leave.is_cancelled());
        assert!(!guests.dismiss_one());
        drop(beat);
        assert!(guests.dismiss_one() && busy.leave.is_cancelled());
        assert!(!upgraded.leave.is_cancelled() && !gone.leave.is_cancelled());
    }
}
