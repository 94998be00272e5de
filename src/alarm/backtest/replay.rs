//! Readings of the past, judged: states, alarms and their events, as the engine has them live.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use super::{
    episode::{Episode, share},
    report::Findings,
};
use crate::{
    alarm::{
        engine::{Down, Originator, OwnedFacts, Rule, judged},
        lifecycle::{Alarm, Change, Extreme, Input, Outcome, Slot, State, Transition, step},
    },
    registry::{Device, Sensor},
    store::StoredReading,
    telemetry::{DeviceId, SensorId, Timestamp},
};

/// Of times of arrival: from `from` on and before `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// Where the states of one originator stand.
type Place = usize;
type PlaceKey = (DeviceId, Option<SensorId>);

/// A state that is fed: its place, and the rule's.
#[derive(Debug, Clone, Copy)]
struct Reader {
    place: Place,
    side: usize,
    slot: Slot,
}

#[derive(Debug, Default)]
struct SensorReaders {
    newest: Option<Timestamp>,
    readers: Vec<Reader>,
    /// Those that a reading of this sensor is only a sign for.
    signs: Vec<Reader>,
}

/// One originator under one or two rules.
struct Tracked {
    originator: Originator,
    sides: [Option<Side>; 2],
    has_moved: bool,
}

struct Side {
    state: State,
    alarm: Alarm,
    /// Those that ended with this input, and last the one that is active.
    episodes: Vec<Episode>,
    /// It had an alarm in the range.
    is_alarming: bool,
}

/// The judging of one slice of devices.
pub(super) struct Replay {
    rules: Vec<Arc<Rule>>,
    range: Range,
    sensors: HashMap<SensorId, SensorReaders, RandomState>,
    places: HashMap<PlaceKey, Place, RandomState>,
    tracked: Vec<Tracked>,
    /// Those with a rule that asks for what does not arrive.
    waiting: Vec<Reader>,
    /// Still to come, the next one last.
    downs: Vec<Down>,
    transitions: Vec<Transition>,
    moved: Vec<Place>,
    findings: Findings,
}

impl Replay {
    pub(super) fn new(rules: &[Arc<Rule>], range: Range, findings: Findings) -> Self {
        Self {
            rules: rules.to_vec(),
            range,
            sensors: HashMap::default(),
            places: HashMap::default(),
            tracked: Vec::new(),
            waiting: Vec::new(),
            downs: Vec::new(),
            transitions: Vec::new(),
            moved: Vec::new(),
            findings,
        }
    }

    /// Adds a device's originators, each with its rule's place, and the sensors that matter to them.
    pub(super) fn add(
        &mut self,
        originators: Vec<(usize, Originator)>,
        device: &Device,
        sensors: &[Arc<Sensor>],
    ) {
        for (side, originator) in originators {
            let Some(rule) = self.rules.get(side).cloned() else { continue };
            let own = originator.sensor_id();
            let place = self.place(device, originator);
            let begun = Side {
                state: State::new(&rule.compiled),
                alarm: Alarm::default(),
                episodes: Vec::new(),
                is_alarming: false,
            };
            let sides = self.tracked.get_mut(place).map(|tracked| &mut tracked.sides);
            if let Some(empty) = sides.and_then(|sides| sides.get_mut(side)) {
                *empty = Some(begun);
            }
            let reader = Reader { place, side, slot: Slot(0) };
            if rule.compiled.asks_absence() || rule.compiled.asks_signs() {
                self.waiting.push(reader);
            }
            for sensor in sensors {
                let slot = match own {
                    Some(own) => (own == sensor.id).then_some(Slot(0)),
                    None => rule.compiled.slot(sensor.name.as_str()),
                };
                let known = self.sensors.entry(sensor.id).or_default();
                match slot {
                    Some(slot) => known.readers.push(Reader { slot, ..reader }),
                    None if rule.compiled.asks_signs() => known.signs.push(reader),
                    None => {}
                }
            }
        }
    }

    fn place(&mut self, device: &Device, originator: Originator) -> Place {
        let next = self.tracked.len();
        let key = (device.id, originator.sensor_id());
        let place = *self.places.entry(key).or_insert(next);
        if place == next {
            let sides = [None, None];
            self.tracked.push(Tracked { originator, sides, has_moved: false });
        }
        place
    }

    /// When the broker did not run, in order.
    pub(super) fn set_downs(&mut self, mut downs: Vec<Down>) {
        downs.retain(|(from, _)| *from < self.range.to);
        downs.reverse();
        self.downs = downs;
    }

    /// Judges one reading; they come in the order of their arrival.
    pub(super) fn reading(&mut self, reading: &StoredReading) {
        self.pass_downs(reading.received_at);
        let Some(known) = self.sensors.get_mut(&reading.sensor) else { return };
        let (mut judged, newest) = judged(reading, known.newest);
        known.newest = Some(newest);
        let (readers, signs) =
            (std::mem::take(&mut known.readers), std::mem::take(&mut known.signs));
        for reader in &signs {
            self.feed(*reader, Input::Sign { at: reading.received_at });
        }
        for reader in &readers {
            judged.sensor = reader.slot;
            self.feed(*reader, Input::Reading(judged));
        }
        if let Some(known) = self.sensors.get_mut(&reading.sensor) {
            (known.readers, known.signs) = (readers, signs);
        }
        if reading.received_at >= self.range.from {
            self.findings.count_reading();
        }
        self.settle(reading.received_at);
    }

    fn pass_downs(&mut self, until: Timestamp) {
        while let Some((from, to)) = self.downs.pop_if(|(from, _)| *from <= until) {
            let waiting = std::mem::take(&mut self.waiting);
            for reader in &waiting {
                self.feed(*reader, Input::Down { from, to });
            }
            self.waiting = waiting;
            self.settle(from);
        }
    }

    /// Fires what is due before the end, and closes the accounts.
    pub(super) fn finish(mut self) -> Findings {
        let last = self.range.to.plus_micros(-1);
        self.pass_downs(last);
        for place in 0..self.tracked.len() {
            for side in 0..self.rules.len() {
                let reader = Reader { place, side, slot: Slot(0) };
                self.feed(reader, Input::Tick { watermark: last });
                self.change(reader, Change::Tick(last), None);
            }
        }
        self.settle(last);
        for tracked in &mut self.tracked {
            for (side, rule) in self.rules.iter().enumerate() {
                let Some(it) = tracked.sides.get_mut(side).and_then(Option::as_mut) else {
                    continue;
                };
                if let Some(mut episode) = it.episodes.pop() {
                    // As a clear at the end would tell it.
                    if let Some((_, extreme)) = Extreme::of_rule(&rule.body) {
                        episode.note_peak(extreme, it.state.worst(&rule.compiled));
                    }
                    it.is_alarming = true;
                    self.findings.alarm(side, &tracked.originator, episode, self.range);
                }
                self.findings.count_originator(side, it.is_alarming);
            }
        }
        self.findings
    }

    fn feed(&mut self, reader: Reader, input: Input<'_>) {
        let Some(rule) = self.rules.get(reader.side) else { return };
        let tracked = self.tracked.get_mut(reader.place);
        let side = tracked.and_then(|tracked| tracked.sides.get_mut(reader.side)?.as_mut());
        let Some(side) = side else { return };
        step(&rule.compiled, &mut side.state, input, &mut self.transitions);
        if self.transitions.is_empty() {
            return;
        }
        let mut transitions = std::mem::take(&mut self.transitions);
        for transition in transitions.drain(..) {
            self.change(reader, Change::Transition(&transition), Some(&transition));
        }
        self.transitions = transitions;
    }

    /// Applies one change to an alarm and notes what comes of it.
    fn change(&mut self, reader: Reader, change: Change<'_>, transition: Option<&Transition>) {
        let Some(rule) = self.rules.get(reader.side) else { return };
        let Some(tracked) = self.tracked.get_mut(reader.place) else { return };
        let Tracked { originator, sides, has_moved } = tracked;
        let Some(side) = sides.get_mut(reader.side).and_then(Option::as_mut) else { return };
        let facts = OwnedFacts::new(rule, originator, change, || false);
        // A transition and a tick fit every alarm.
        let outcome = side.alarm.apply(&rule.policy, &facts.borrow(), change);
        let Outcome { events, notices, .. } = outcome.unwrap_or_default();
        let Some(record) = &side.alarm.record else { return };
        for event in events {
            if event.arrival >= self.range.from {
                self.findings.event(reader.side, originator, event);
            }
        }
        for notice in notices {
            if notice.at >= self.range.from {
                self.findings.notice(reader.side, (rule, originator), record, &notice);
            }
        }
        let Some(transition) = transition else { return };
        if record.active && side.episodes.last().is_none_or(Episode::is_over) {
            side.episodes.push(Episode::new(record, transition));
        }
        if let Some(episode) = side.episodes.last_mut().filter(|episode| !episode.is_over()) {
            episode.follow(record, transition, rule.body.latching);
        }
        if !std::mem::replace(has_moved, true) {
            self.moved.push(reader.place);
        }
    }

    /// Compares what has moved with one input, which arrived at `at`, and reports what is over.
    fn settle(&mut self, at: Timestamp) {
        let mut moved = std::mem::take(&mut self.moved);
        let compared = if self.rules.len() > 1 { self.rules.len() } else { 0 };
        for place in moved.drain(..) {
            // The other rule may not have heard of it: what it has due by then counts.
            for side in 0..compared {
                let reader = Reader { place, side, slot: Slot(0) };
                self.feed(reader, Input::Tick { watermark: at });
            }
            self.close(place);
        }
        self.moved = moved;
    }

    fn close(&mut self, place: Place) {
        let Some(tracked) = self.tracked.get_mut(place) else { return };
        tracked.has_moved = false;
        if let [Some(rule), Some(compared)] = &mut tracked.sides {
            share(&mut rule.episodes, &mut compared.episodes, self.range.from);
        }
        for (place, side) in tracked.sides.iter_mut().enumerate() {
            let Some(side) = side else { continue };
            for episode in side.episodes.extract_if(.., |episode| episode.is_over()) {
                if episode.reaches(self.range.from) {
                    side.is_alarming = true;
                    self.findings.alarm(place, &tracked.originator, episode, self.range);
                }
            }
        }
    }
}
