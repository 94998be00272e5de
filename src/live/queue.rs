//! What waits for one subscriber: a bounded queue that says what did not fit, where it is missing.

use std::{collections::VecDeque, sync::Arc};

use super::event::Event;

/// What a subscriber is handed.
#[derive(Debug, Clone)]
pub enum Delivery {
    Event(Arc<Event>),
    /// So many events are missing here.
    Gap(u64),
}

/// Bound: `max` events, and gaps between them. Full: events are missed until half of it has been
/// taken, so that a subscriber that is always too slow gets runs of events, not single ones.
#[derive(Debug)]
pub(super) struct Queue {
    items: VecDeque<Delivery>,
    max: usize,
    /// Missed since the last event that was let in.
    missed: u64,
    /// The number of the last event offered: a subscriber that two indexes lead to gets it once.
    last_offered: u64,
    is_closed: bool,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    /// The queue was empty before: its reader may have to be woken.
    First,
    Queued,
    Missed,
    /// It had been offered already.
    Known,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        Self {
            items: VecDeque::new(),
            max: max.max(1),
            missed: 0,
            last_offered: 0,
            is_closed: false,
        }
    }

    /// Offers the event with this number; numbers grow, and begin with 1.
    pub(super) fn offer(&mut self, number: u64, event: &Arc<Event>) -> Offered {
        if self.last_offered == number {
            return Offered::Known;
        }
        self.last_offered = number;
        let is_full = self.items.len() >= self.max;
        let is_recovering = self.missed > 0 && self.items.len() > self.max / 2;
        if is_full || is_recovering {
            self.missed += 1;
            return Offered::Missed;
        }
        let was_empty = self.items.is_empty();
        if self.missed > 0 {
            self.items.push_back(Delivery::Gap(std::mem::take(&mut self.missed)));
        }
        self.items.push_back(Delivery::Event(event.clone()));
        if was_empty { Offered::First } else { Offered::Queued }
    }

    /// Moves up to `max` deliveries to `into`; `false` when nothing is left and nothing will come.
    pub(super) fn take(&mut self, into: &mut Vec<Delivery>, max: usize) -> bool {
        let count = self.items.len().min(max);
        into.extend(self.items.drain(..count));
        // The last events were missed and none came after them: that is to be known, too.
        if self.items.is_empty() && self.missed > 0 && count < max {
            into.push(Delivery::Gap(std::mem::take(&mut self.missed)));
        }
        if self.items.is_empty() && self.items.capacity() > 64 {
            self.items = VecDeque::new();
        }
        !(self.is_closed && into.is_empty())
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Offer,
        Take(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![3 => Just(Step::Offer), 1 => (1..8_usize).prop_map(Step::Take)];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Events and gaps together are everything that was offered, in order; and never more than
        /// the bound waits.
        #[test]
        fn what_is_missing_is_told_where_it_is_missing(max in 1..10_usize, steps in steps()) {
            let mut queue = Queue::new(max);
            let (mut offered, mut seen, mut taken) = (0, 0, Vec::new());
            let mut check = |taken: &mut Vec<Delivery>| {
                for delivery in taken.drain(..) {
                    match delivery {
                        Delivery::Gap(missed) => {
                            assert!(missed > 0);
                            seen += missed;
                        }
                        Delivery::Event(event) => {
                            seen += 1;
                            assert_eq!(event.json(), seen.to_string().as_bytes());
                        }
                    }
                }
                seen
            };
            for step in steps {
                match step {
                    Step::Offer => {
                        offered += 1;
                        let event = Arc::new(Event::raw(offered.to_string()));
                        queue.offer(offered, &event);
                        prop_assert_eq!(queue.offer(offered, &event), Offered::Known);
                    }
                    Step::Take(count) => {
                        prop_assert!(queue.take(&mut taken, count));
                        prop_assert!(taken.len() <= count);
                        check(&mut taken);
                    }
                }
                prop_assert!(queue.items.len() <= max + 1);
            }
            queue.close();
            while queue.take(&mut taken, 3) {
                check(&mut taken);
            }
            prop_assert_eq!(check(&mut taken), offered);
        }
    }
}
