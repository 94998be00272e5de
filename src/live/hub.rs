//! The hub: those who publish on one side, those who listen on the other.
//!
//! One lock guards who listens and how far publishing has come, so that a subscriber knows exactly
//! which readings it will be sent: those after [`Subscription::start`]. Subscribers take from their own
//! queues and don't touch it.

use std::{
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use metrics::{Counter, counter};
use parking_lot::{Mutex, MutexGuard};

use super::{
    cursor::Cursor,
    event::{AlarmChange, Event, RawMessage},
    filter::{Filter, Kind},
    index::{About, Index, Subscriber},
    queue::Delivery,
};
use crate::{
    metrics::names,
    telemetry::{DeviceKey, Position, Reading, SensorId, SensorName, Timestamp},
};

pub struct Hub {
    state: Mutex<State>,
    queue_max: usize,
    missed: Counter,
}

struct State {
    index: Index,
    /// Everyone who listens, for the end. Bound: subscriptions.
    subscribers: Vec<Weak<Subscriber>>,
    last: Cursor,
    /// Of the last event.
    number: u64,
    is_closed: bool,
}

/// A batch on its way to those who listen; the lock is held as long as it lives.
pub struct Publication<'a> {
    state: MutexGuard<'a, State>,
    missed: u64,
    counter: &'a Counter,
}

/// Somebody who listens. Dropped: gone.
pub struct Subscription {
    hub: Arc<Hub>,
    subscriber: Arc<Subscriber>,
    filter: Filter,
    start: Cursor,
}

impl Hub {
    /// `last`: everything stored so far stands at or before it, and is not published. `queue_max`: events that may wait for
    /// one subscriber.
    pub fn new(last: Cursor, queue_max: usize) -> Self {
        let state = State {
            index: Index::default(),
            subscribers: Vec::new(),
            last,
            number: 0,
            is_closed: false,
        };
        Self { state: Mutex::new(state), queue_max, missed: counter!(names::STREAM_MISSED) }
    }

    /// Begins to publish what one transaction has stored.
    pub fn publish(&self) -> Publication<'_> {
        Publication { state: self.state.lock(), missed: 0, counter: &self.missed }
    }

    pub fn subscribe(self: &Arc<Self>, filter: Filter) -> Subscription {
        let subscriber = Arc::new(Subscriber::new(self.queue_max));
        let mut state = self.state.lock();
        state.index.insert(&subscriber, &filter);
        state.subscribers.push(Arc::downgrade(&subscriber));
        if state.is_closed {
            subscriber.queue.lock().close();
        }
        let start = state.last;
        drop(state);
        Subscription { hub: self.clone(), subscriber, filter, start }
    }

    /// Ends every subscription, once it has taken what waits for it.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let subscribers = std::mem::take(&mut state.subscribers);
        drop(state);
        for subscriber in subscribers.iter().filter_map(Weak::upgrade) {
            subscriber.queue.lock().close();
            subscriber.waker.wake();
        }
    }
}

impl Publication<'_> {
    /// Whether anybody listens to anything.
    pub fn is_heard(&self) -> bool {
        !self.state.index.is_empty()
    }

    /// A stored reading, in the order of positions; `read` is called where somebody wants it.
    pub fn reading(
        &mut self,
        position: Position,
        (device, name): (&DeviceKey, &SensorName),
        read: impl FnOnce() -> Reading,
    ) {
        self.state.last.position = self.state.last.position.max(position);
        let cursor = self.state.last;
        let (kind, sensor) = (Kind::Readings, Some(position.sensor));
        let about = About { kind, device: Some(device), name: Some(name), sensor };
        self.offer(about, || Event::reading(&read(), cursor));
    }

    pub fn presence(&mut self, device: &DeviceKey, online: bool, at: Timestamp) {
        let kind = Kind::Presence;
        let about = About { kind, device: Some(device), name: None, sensor: None };
        self.offer(about, || Event::presence(device, online, at));
    }

    /// Something that happened to an alarm of a device, or of a sensor; `number` is that of its line in
    /// the alarms' history, and they come in their order. `show` is called where somebody wants it.
    pub fn alarm(
        &mut self,
        number: i64,
        (device, sensor): (&str, Option<(SensorId, &str)>),
        show: impl FnOnce() -> AlarmChange,
    ) {
        self.state.last.alarm = self.state.last.alarm.max(number);
        let cursor = self.state.last;
        if !self.is_heard() {
            return;
        }
        let (device, name) = (
            DeviceKey::new(device).ok(),
            sensor.and_then(|(_, name)| SensorName::in_topic(name).ok()),
        );
        let about = About {
            kind: Kind::Alarms,
            device: device.as_ref(),
            name: name.as_ref(),
            sensor: sensor.map(|(id, _)| id),
        };
        self.offer(about, || Event::alarm(&show(), cursor));
    }

    pub fn message<'m>(&mut self, device: &DeviceKey, make: impl FnOnce() -> RawMessage<'m>) {
        let kind = Kind::Messages;
        let about = About { kind, device: Some(device), name: None, sensor: None };
        self.offer(about, || Event::message(&make()));
    }

    fn offer(&mut self, about: About<'_>, make: impl FnOnce() -> Event) {
        if self.state.index.is_empty() {
            return;
        }
        self.state.number += 1;
        self.missed += self.state.index.offer(self.state.number, about, make);
    }
}

impl Drop for Publication<'_> {
    fn drop(&mut self) {
        if self.missed > 0 {
            self.counter.increment(self.missed);
        }
    }
}

impl Subscription {
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What comes after it is sent; what came up to it is in the store.
    pub fn start(&self) -> Cursor {
        self.start
    }

    /// Listens to something else from here on, which is told; what waits already stays.
    pub fn change(&mut self, filter: Filter) -> Cursor {
        let mut state = self.hub.state.lock();
        state.index.remove(&self.subscriber, &self.filter);
        state.index.insert(&self.subscriber, &filter);
        let last = state.last;
        drop(state);
        self.filter = filter;
        last
    }

    /// Moves up to `max` deliveries to `into`, at least one when ready. `false`: the hub has closed,
    /// and nothing is left.
    pub fn poll_take(
        &mut self,
        context: &Context<'_>,
        into: &mut Vec<Delivery>,
        max: usize,
    ) -> Poll<bool> {
        self.subscriber.waker.register(context.waker());
        let is_open = self.subscriber.queue.lock().take(into, max);
        if is_open && into.is_empty() { Poll::Pending } else { Poll::Ready(is_open) }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        state.index.remove(&self.subscriber, &self.filter);
        let gone = Arc::as_ptr(&self.subscriber);
        if let Some(at) = state.subscribers.iter().position(|known| known.as_ptr() == gone) {
            state.subscribers.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, task::Waker};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        live::{Kinds, SensorRef},
        telemetry::Quality,
    };

    fn hub(queue_max: usize) -> Arc<Hub> {
        let position = Position::end_of(Timestamp::UNIX_EPOCH);
        Arc::new(Hub::new(Cursor { position, alarm: 0 }, queue_max))
    }

    /// Sensor `n` is `s{n}` of device `d{n / 3}`.
    fn reading(n: i64, at: i64) -> Reading {
        Reading {
            device: DeviceKey::new(&format!("d{}", n / 3)).unwrap(),
            sensor: SensorName::in_payload(&format!("s{n}")).unwrap(),
            sensor_id: SensorId(n),
            event_time: Timestamp::from_micros(at),
            received_at: Timestamp::from_micros(at),
            value: Some(at as f64),
            unit: None,
            quality: Quality::Good,
        }
    }

    fn publish(hub: &Hub, n: i64, at: i64) {
        let reading = reading(n, at);
        let position = Position {
            received_at: reading.received_at,
            sensor: reading.sensor_id,
            event_time: reading.event_time,
        };
        let (device, name) = (reading.device.clone(), reading.sensor.clone());
        hub.publish().reading(position, (&device, &name), || reading);
    }

    /// What waits, as (sensor, value).
    fn taken(subscription: &mut Subscription) -> Vec<(i64, i64)> {
        let mut into = Vec::new();
        let context = Context::from_waker(Waker::noop());
        let _ = subscription.poll_take(&context, &mut into, usize::MAX);
        let read = |delivery: &Delivery| match delivery {
            Delivery::Gap(missed) => (-1, *missed as i64),
            Delivery::Event(event) => {
                let json: serde_json::Value = serde_json::from_slice(event.json()).unwrap();
                let value = json["data"]["value"].as_f64().unwrap() as i64;
                (json["sensor_id"].as_i64().unwrap(), value)
            }
        };
        into.iter().map(read).collect()
    }

    #[derive(Debug, Clone)]
    enum Named {
        Device(i64),
        Id(i64),
        Name(i64),
    }

    fn filter(named: &[Named]) -> Filter {
        let mut filter = Filter::nothing(Kinds::usual());
        for named in named {
            match named {
                Named::Device(n) => {
                    filter.devices.insert(DeviceKey::new(&format!("d{n}")).unwrap());
                }
                Named::Id(n) => {
                    filter.sensors.insert(SensorRef::Id(SensorId(*n)));
                }
                Named::Name(n) => {
                    let reading = reading(*n, 0);
                    filter.sensors.insert(SensorRef::Named(reading.device, reading.sensor));
                }
            }
        }
        filter
    }

    fn wanted(named: &[Named]) -> BTreeSet<i64> {
        let all = |named: &Named| match named {
            Named::Device(n) => vec![n * 3, n * 3 + 1, n * 3 + 2],
            Named::Id(n) | Named::Name(n) => vec![*n],
        };
        named.iter().flat_map(all).collect()
    }

    fn named() -> impl Strategy<Value = Vec<Named>> {
        let one = prop_oneof![
            (0..4_i64).prop_map(Named::Device),
            (0..12_i64).prop_map(Named::Id),
            (0..12_i64).prop_map(Named::Name),
        ];
        prop::collection::vec(one, 0..6)
    }

    proptest! {
        /// Each subscriber gets exactly what its filter names, once, in order; whatever others do.
        #[test]
        fn each_gets_what_it_named(
            first in named(), changed in named(), others in prop::collection::vec(named(), 0..5),
            events in prop::collection::vec(0..12_i64, 0..60),
        ) {
            let hub = hub(1_000);
            let mut others: Vec<_> = others.iter().map(|n| hub.subscribe(filter(n))).collect();
            let mut subscription = hub.subscribe(filter(&first));
            let mut everything = hub.subscribe(Filter::everything(Kinds::usual()));
            let (before, after) = events.split_at(events.len() / 2);
            let mut at = 0;
            for (part, named) in [(before, &first), (after, &changed)] {
                subscription.change(filter(named));
                others.pop();
                let mut expected = Vec::new();
                let mut all = Vec::new();
                for n in part {
                    at += 1;
                    publish(&hub, *n, at);
                    all.push((*n, at));
                    if wanted(named).contains(n) {
                        expected.push((*n, at));
                    }
                }
                prop_assert_eq!(taken(&mut subscription), expected);
                prop_assert_eq!(taken(&mut everything), all);
            }
            drop((subscription, everything, others));
            let state = hub.state.lock();
            prop_assert!(state.index.is_empty() && state.subscribers.is_empty());
            let index = format!("{:?}", state.index);
            prop_assert!(index.contains("devices: {}, sensors: {}"), "{}", index);
        }
    }

    #[test]
    fn a_subscriber_that_does_not_take_misses_and_goes_on() {
        let hub = hub(4);
        let mut slow = hub.subscribe(Filter::everything(Kinds::usual()));
        for at in 1..=10 {
            publish(&hub, 1, at);
        }
        assert_eq!(taken(&mut slow), [(1, 1), (1, 2), (1, 3), (1, 4), (-1, 6)]);
        publish(&hub, 1, 11);
        assert_eq!(taken(&mut slow), [(1, 11)]);
    }

    #[test]
    fn kinds_are_kept_apart_and_the_end_comes_after_what_waits() {
        let hub = hub(10);
        let mut silent = hub.subscribe(Filter::everything(Kinds::NONE.with(Kind::Alarms)));
        let mut subscription = hub.subscribe(Filter::everything(Kinds::usual()));
        publish(&hub, 1, 1);
        hub.close();
        assert_eq!(taken(&mut subscription), [(1, 1)]);
        let context = Context::from_waker(Waker::noop());
        let mut into = Vec::new();
        assert_eq!(subscription.poll_take(&context, &mut into, 9), Poll::Ready(false));
        assert_eq!(silent.poll_take(&context, &mut into, 9), Poll::Ready(false));
        let mut late = hub.subscribe(Filter::everything(Kinds::usual()));
        assert_eq!(late.poll_take(&context, &mut into, 9), Poll::Ready(false));
        assert!(into.is_empty());
    }

    #[test]
    fn a_subscription_starts_after_the_last_reading() {
        let hub = hub(10);
        publish(&hub, 1, 5);
        let start = hub.subscribe(Filter::everything(Kinds::usual())).start();
        let Cursor { position, alarm } = start;
        assert_eq!((position.received_at.as_micros(), position.sensor.0, alarm), (5, 1, 0));
    }

    #[test]
    fn an_alarm_is_shown_once_and_only_where_it_is_wanted() {
        let hub = hub(10);
        let of_sensor = |n| Some((SensorId(n), "s1"));
        let unheard = || -> AlarmChange { panic!("nobody asked") };
        hub.publish().alarm(1, ("d0", of_sensor(1)), unheard);
        let mut everything = hub.subscribe(Filter::everything(Kinds::NONE.with(Kind::Alarms)));
        let mut device = hub.subscribe(filter(&[Named::Device(0)]));
        let mut sensor = hub.subscribe(filter(&[Named::Id(1), Named::Name(1)]));
        let mut other = hub.subscribe(filter(&[Named::Device(1), Named::Id(2)]));
        assert_eq!(other.start().alarm, 1);
        let mut shown = 0;
        let mut publication = hub.publish();
        for (number, of) in [(2, of_sensor(1)), (3, None)] {
            publication.alarm(number, ("d0", of), || {
                shown += 1;
                AlarmChange { event: number.into(), alarm: serde_json::Value::Null }
            });
        }
        drop(publication);
        assert_eq!(shown, 2);
        let numbers = |subscription: &mut Subscription| {
            let mut into = Vec::new();
            let context = Context::from_waker(Waker::noop());
            let _ = subscription.poll_take(&context, &mut into, usize::MAX);
            let number = |delivery: &Delivery| match delivery {
                Delivery::Gap(_) => panic!("a gap"),
                Delivery::Event(event) => {
                    let json: serde_json::Value = serde_json::from_slice(event.json()).unwrap();
                    let id: Cursor = json["id"].as_str().unwrap().parse().unwrap();
                    assert_eq!(json["event"], id.alarm);
                    id.alarm
                }
            };
            into.iter().map(number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&mut everything), [2, 3]);
        assert_eq!(numbers(&mut device), [2, 3]);
        assert_eq!(numbers(&mut sensor), [2]);
        assert!(numbers(&mut other).is_empty());
    }
}
