//! What waits to be sent to one client, and what all clients' queues weigh together. Pure.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{journal::StoredDelivery, packet::QoS, publication::Publication, topic::TopicFilter};

/// One message on its way to one client.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) publication: Arc<Publication>,
    /// The lower of the publication's and the subscription's.
    pub(crate) qos: QoS,
    /// The RETAIN flag as this client is to see it.
    pub(crate) retain: bool,
    /// Identifiers of the subscriptions that matched.
    pub(crate) identifiers: Option<Box<[u32]>>,
    /// The shared subscription that it came by.
    pub(crate) share: Option<TopicFilter>,
    /// Its row, where it has one.
    pub(crate) stored: Option<Arc<StoredDelivery>>,
    /// The row says that it may have been sent.
    pub(crate) may_be_sent: bool,
}

impl Delivery {
    /// What it weighs in a queue, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.publication.weight() + size_of::<Self>()
    }
}

/// The memory of all queues together. Past its bound incoming QoS 0 messages are dropped, then the
/// oldest of the receiver that a new one is for, and where it has none, the new one.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { used: AtomicUsize::new(0), bytes_max }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.bytes_max
    }
}

/// Deliveries in order. Who appends sees to the bounds.
#[derive(Debug)]
pub(crate) struct Queue {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    budget: Arc<Budget>,
}

impl Queue {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { deliveries: VecDeque::new(), bytes: 0, budget }
    }

    pub(crate) fn len(&self) -> usize {
        self.deliveries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether all queues together have room for so many bytes more.
    pub(crate) fn is_within_budget(&self, bytes: usize) -> bool {
        self.budget.has_room(bytes)
    }

    pub(crate) fn front(&self) -> Option<&Delivery> {
        self.deliveries.front()
    }

    pub(crate) fn append(&mut self, delivery: Delivery) {
        let weight = delivery.weight();
        self.bytes += weight;
        self.budget.used.fetch_add(weight, Ordering::Relaxed);
        self.deliveries.push_back(delivery);
    }

    pub(crate) fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.pop_front()?;
        self.discharge(&delivery);
        if self.deliveries.is_empty() && self.deliveries.capacity() > 64 {
            self.deliveries = VecDeque::new();
        }
        Some(delivery)
    }

    fn discharge(&mut self, delivery: &Delivery) {
        let weight = delivery.weight();
        self.bytes -= weight;
        self.budget.used.fetch_sub(weight, Ordering::Relaxed);
    }

    /// Takes out what `leaves` picks, in order.
    pub(crate) fn remove_where(&mut self, leaves: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        if !self.deliveries.iter().any(&leaves) {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.deliveries);
        let (removed, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(leaves);
        self.deliveries = kept.into();
        for delivery in &removed {
            self.discharge(delivery);
        }
        removed
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
