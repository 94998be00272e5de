//! Who wants what: from an event's device and sensor to its subscribers, without a look at others.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use foldhash::fast::RandomState;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::{
    event::Event,
    filter::{Filter, Kind, Kinds, SensorRef},
    queue::{Offered, Queue},
};
use crate::telemetry::{DeviceKey, SensorId, SensorName};

/// The part of a subscription that the hub holds.
#[derive(Debug)]
pub(super) struct Subscriber {
    kinds: AtomicU8,
    pub(super) queue: Mutex<Queue>,
    pub(super) waker: AtomicWaker,
}

type Subscribers = Vec<Arc<Subscriber>>;

/// Bound: subscribers, and what each of their filters names.
#[derive(Debug, Default)]
pub(super) struct Index {
    everything: Subscribers,
    devices: HashMap<DeviceKey, OfDevice, RandomState>,
    sensors: HashMap<SensorId, Subscribers, RandomState>,
    count: usize,
}

#[derive(Debug, Default)]
struct OfDevice {
    whole: Subscribers,
    sensors: HashMap<SensorName, Subscribers, RandomState>,
}

/// What an event is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) kind: Kind,
    pub(super) device: Option<&'a DeviceKey>,
    pub(super) name: Option<&'a SensorName>,
    pub(super) sensor: Option<SensorId>,
}

impl Subscriber {
    pub(super) fn new(queue_max: usize) -> Self {
        Self {
            kinds: AtomicU8::new(0),
            queue: Mutex::new(Queue::new(queue_max)),
            waker: AtomicWaker::new(),
        }
    }

    fn wants(&self, kind: Kind) -> bool {
        Kinds::from_bits(self.kinds.load(Ordering::Relaxed)).contains(kind)
    }

    /// `true`: it was missed.
    fn offer(&self, number: u64, event: &Arc<Event>) -> bool {
        let offered = self.queue.lock().offer(number, event);
        if offered == Offered::First {
            self.waker.wake();
        }
        offered == Offered::Missed
    }
}

impl Index {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn insert(&mut self, subscriber: &Arc<Subscriber>, filter: &Filter) {
        self.count += 1;
        subscriber.kinds.store(filter.kinds.bits(), Ordering::Relaxed);
        if filter.is_everything {
            return self.everything.push(subscriber.clone());
        }
        for device in &filter.devices {
            let of_device = self.devices.entry(device.clone()).or_default();
            of_device.whole.push(subscriber.clone());
        }
        for sensor in &filter.sensors {
            let subscribers = match sensor {
                SensorRef::Id(id) => self.sensors.entry(*id).or_default(),
                SensorRef::Named(device, name) => {
                    let of_device = self.devices.entry(device.clone()).or_default();
                    of_device.sensors.entry(name.clone()).or_default()
                }
            };
            subscribers.push(subscriber.clone());
        }
    }

    /// Undoes [`Self::insert`] with the same filter.
    pub(super) fn remove(&mut self, subscriber: &Arc<Subscriber>, filter: &Filter) {
        self.count -= 1;
        if filter.is_everything {
            return take_out(&mut self.everything, subscriber);
        }
        for device in &filter.devices {
            if let Some(of_device) = self.devices.get_mut(device) {
                take_out(&mut of_device.whole, subscriber);
            }
            self.forget_if_idle(device);
        }
        for sensor in &filter.sensors {
            match sensor {
                SensorRef::Id(id) => {
                    let Some(subscribers) = self.sensors.get_mut(id) else { continue };
                    take_out(subscribers, subscriber);
                    if subscribers.is_empty() {
                        self.sensors.remove(id);
                    }
                }
                SensorRef::Named(device, name) => {
                    if let Some(of_device) = self.devices.get_mut(device)
                        && let Some(subscribers) = of_device.sensors.get_mut(name)
                    {
                        take_out(subscribers, subscriber);
                        if subscribers.is_empty() {
                            of_device.sensors.remove(name);
                        }
                    }
                    self.forget_if_idle(device);
                }
            }
        }
    }

    fn forget_if_idle(&mut self, device: &DeviceKey) {
        let is_idle = |of: &OfDevice| of.whole.is_empty() && of.sensors.is_empty();
        if self.devices.get(device).is_some_and(is_idle) {
            self.devices.remove(device);
        }
    }

    /// Offers an event, made when the first wants it; gives how many missed it.
    pub(super) fn offer(&self, number: u64, about: About<'_>, make: impl FnOnce() -> Event) -> u64 {
        let of_device = about.device.and_then(|device| self.devices.get(device));
        let whole = of_device.map(|of| of.whole.as_slice()).unwrap_or_default();
        let named = of_device.zip(about.name).and_then(|(of, name)| of.sensors.get(name));
        let numbered = about.sensor.and_then(|sensor| self.sensors.get(&sensor));
        let (mut make, mut event, mut missed) = (Some(make), None, 0);
        for list in [
            self.everything.as_slice(),
            whole,
            named.map(Vec::as_slice).unwrap_or_default(),
            numbered.map(Vec::as_slice).unwrap_or_default(),
        ] {
            for subscriber in list.iter().filter(|subscriber| subscriber.wants(about.kind)) {
                if event.is_none() {
                    event = make.take().map(|make| Arc::new(make()));
                }
                if let Some(event) = &event {
                    missed += u64::from(subscriber.offer(number, event));
                }
            }
        }
        missed
    }
}

fn take_out(subscribers: &mut Subscribers, gone: &Arc<Subscriber>) {
    if let Some(at) = subscribers.iter().position(|known| Arc::ptr_eq(known, gone)) {
        subscribers.swap_remove(at);
    }
}
