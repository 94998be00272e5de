//! The committer's queue: from many connections to one thread.
//!
//! Bound: messages and bytes. Full: `try_push` gives the item back, its connection stops reading and
//! is woken when the committer has drained. Closed: nothing more comes in, what is in is drained.

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll, Waker},
    time::Duration,
};

use foldhash::quality::RandomState;
use parking_lot::{Condvar, Mutex, MutexGuard};

/// Items in front that [`Queue::find_in_front`] looks at, under the lock: what it finds is a hint.
const LOOK_AHEAD: usize = 64;

#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    messages_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    /// Tasks that wait for room, each once; all are woken by each drain.
    waiting: HashMap<(usize, usize), Waker, RandomState>,
    is_closed: bool,
}

/// What a drain found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    Items,
    /// Nothing came within the time allowed.
    Nothing,
    /// Nothing is left, and nothing will come.
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
                waiting: HashMap::default(),
                is_closed: false,
            }),
            filled: Condvar::new(),
            messages_max,
            bytes_max,
        }
    }

    /// Adds an item that weighs `weight` bytes, or gives it back when there is no room.
    pub(crate) fn try_push(&self, weight: usize, item: T) -> Result<(), T> {
        let state = self.state.lock();
        if state.is_closed || !self.has_room_in(&state) {
            return Err(item);
        }
        self.put(state, weight, item);
        Ok(())
    }

    /// Adds an item whatever the room; gives it back when the queue is closed.
    pub(crate) fn push_over(&self, weight: usize, item: T) -> Result<(), T> {
        let state = self.state.lock();
        if state.is_closed {
            return Err(item);
        }
        self.put(state, weight, item);
        Ok(())
    }

    fn put(&self, mut state: MutexGuard<'_, State<T>>, weight: usize, item: T) {
        state.bytes += weight;
        state.items.push_back((weight, item));
        let was_empty = state.items.len() == 1;
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    pub(crate) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        // A closed queue has no room, but nobody should wait for it either: the offer is refused.
        if state.is_closed || self.has_room_in(&state) {
            return Poll::Ready(());
        }
        // Its clone is kept, so that no other task has the same address meanwhile.
        let waker = context.waker().clone();
        let task = (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr());
        state.waiting.insert(task, waker);
        Poll::Pending
    }

    pub(crate) fn has_room(&self) -> bool {
        self.has_room_in(&self.state.lock())
    }

    fn has_room_in(&self, state: &State<T>) -> bool {
        state.items.len() < self.messages_max && state.bytes < self.bytes_max
    }

    /// Waits for items, at most `patience`, and moves up to `count_max` of them to `into`.
    pub(crate) fn drain(&self, into: &mut Vec<T>, count_max: usize, patience: Duration) -> Drained {
        let mut state = self.state.lock();
        if state.items.is_empty() && !state.is_closed {
            self.filled.wait_for(&mut state, patience);
        }
        if state.items.is_empty() {
            return if state.is_closed { Drained::Closed } else { Drained::Nothing };
        }
        let count = state.items.len().min(count_max);
        let mut weight = 0;
        into.extend(state.items.drain(..count).map(|(bytes, item)| {
            weight += bytes;
            item
        }));
        state.bytes -= weight;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
        Drained::Items
    }

    /// What `look` finds in the first of the items that has it; only some in front are looked at.
    pub(crate) fn find_in_front<F>(&self, look: impl Fn(&T) -> Option<F>) -> Option<F> {
        self.state.lock().items.iter().take(LOOK_AHEAD).find_map(|(_, item)| look(item))
    }

    /// Messages that wait.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
        self.filled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[test]
    fn gives_back_what_has_no_room_and_drains_in_order() {
        let queue = Queue::new(2, 100);
        assert_eq!(queue.try_push(1, 'a'), Ok(()));
        assert_eq!(queue.try_push(1, 'b'), Ok(()));
        assert_eq!(queue.try_push(1, 'c'), Err('c'));
        let mut items = Vec::new();
        assert_eq!(queue.drain(&mut items, 1, Duration::ZERO), Drained::Items);
        assert_eq!(queue.try_push(200, 'd'), Ok(()));
        assert_eq!(queue.drain(&mut items, 9, Duration::ZERO), Drained::Items);
        assert_eq!(items, ['a', 'b', 'd']);
        assert_eq!(queue.drain(&mut items, 9, Duration::ZERO), Drained::Nothing);
        queue.close();
        assert_eq!(queue.try_push(1, 'e'), Err('e'));
        assert_eq!(queue.drain(&mut items, 9, Duration::ZERO), Drained::Closed);
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_task_that_waits_for_room_is_woken_once() {
        let queue = Queue::new(1, 100);
        assert_eq!(queue.try_push(1, 'a'), Ok(()));
        let tasks: Vec<_> = (0..100).map(|_| Arc::new(Woken::default())).collect();
        for task in tasks.iter().chain(&tasks) {
            let waker = Waker::from(task.clone());
            assert_eq!(queue.poll_room(&Context::from_waker(&waker)), Poll::Pending);
        }
        assert_eq!(queue.state.lock().waiting.len(), 100);
        queue.drain(&mut Vec::new(), 9, Duration::ZERO);
        assert!(tasks.iter().all(|task| task.0.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn bytes_bound_it_too() {
        let queue = Queue::new(10, 100);
        assert_eq!(queue.try_push(150, 'a'), Ok(()), "one oversized message still passes");
        assert_eq!(queue.try_push(1, 'b'), Err('b'));
    }
}
