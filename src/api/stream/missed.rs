//! What a client has missed, from the store: readings and what happened to alarms, in the order in
//! which they came, each with the cursor that says how far the client has it then.

use std::{collections::BTreeSet, iter::Peekable, sync::Arc, vec};

use metrics::counter;

use crate::{
    api::{Api, alarm_view::alarm_change, problem::Fault},
    live::{Cursor, Event, Filter, Kind, SensorRef},
    metrics::names,
    registry::{Device, Registry},
    store::{AlarmHappening, AlarmRow, LeftOut, SinceQuery, StoredReading},
    telemetry::SensorId,
};

/// Of more changes of alarms than this the newest are told; each is held with its alarm.
const ALARMS_MAX: usize = 1_000;

pub(super) struct Missed {
    registry: Arc<Registry>,
    /// Where the client stands.
    cursor: Cursor,
    /// Older ones are left out.
    gap: Option<Event>,
    /// Bound: `streams.max_resumed_readings`.
    readings: Peekable<vec::IntoIter<StoredReading>>,
    /// Bound: [`ALARMS_MAX`].
    alarms: Peekable<vec::IntoIter<AlarmHappening>>,
}

impl Missed {
    pub(super) fn nothing(api: &Api, cursor: Cursor) -> Self {
        Self {
            registry: api.registry.clone(),
            cursor,
            gap: None,
            readings: Vec::new().into_iter().peekable(),
            alarms: Vec::new().into_iter().peekable(),
        }
    }

    /// What a filter wants of what came after `after`, up to `upto`.
    pub(super) async fn read(
        api: &Api,
        filter: &Filter,
        (after, upto): (Cursor, Cursor),
    ) -> Result<Self, Fault> {
        let mut missed = Self::nothing(api, after);
        let mut left_out = None;
        if filter.kinds.contains(Kind::Readings) {
            let query = SinceQuery {
                sensors: sensors(&api.registry, filter),
                after: after.position,
                upto: upto.position,
                max: api.streams.settings.max_resumed_readings,
            };
            let since = api.store.readings_since(&query).await?;
            left_out = since.left_out;
            counter!(names::STREAM_RESUMED).increment(since.readings.len() as u64);
            missed.readings = since.readings.into_iter().peekable();
        }
        if filter.kinds.contains(Kind::Alarms) {
            let range = (after.alarm, upto.alarm);
            let wanted = |alarm: &AlarmRow| {
                filter.names(&alarm.device, alarm.sensor_id.zip(alarm.sensor.as_deref()))
            };
            let since = api.store.alarms_since(range, ALARMS_MAX, wanted).await?;
            if since.is_cut {
                left_out = Some(LeftOut::Uncounted);
            }
            counter!(names::STREAM_RESUMED).increment(since.happenings.len() as u64);
            missed.alarms = since.happenings.into_iter().peekable();
        }
        missed.gap = left_out.map(|left_out| match left_out {
            LeftOut::Exactly(count) => Event::gap(Some(count)),
            LeftOut::Uncounted => Event::gap(None),
        });
        Ok(missed)
    }

    /// Where the client stood at the beginning; later, where it stands.
    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }

    fn reading(&mut self) -> Option<Event> {
        // A reading whose sensor is gone meanwhile is gone with it.
        loop {
            let stored = self.readings.next()?;
            self.cursor.position = stored.position();
            if let Some(sensor) = self.registry.sensor(stored.sensor) {
                return Some(Event::reading(&sensor.reading(stored), self.cursor));
            }
        }
    }
}

impl Iterator for Missed {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if let Some(gap) = self.gap.take() {
            return Some(gap);
        }
        // A reading comes before what it did to an alarm.
        let is_alarm_next = match (self.readings.peek(), self.alarms.peek()) {
            (Some(reading), Some(alarm)) => alarm.event.arrival < reading.received_at,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if !is_alarm_next && let Some(event) = self.reading() {
            return Some(event);
        }
        let AlarmHappening { event, alarm } = self.alarms.next()?;
        self.cursor.alarm = event.id;
        Some(Event::alarm(&alarm_change(&alarm, &event), self.cursor))
    }
}

/// The sensors that a filter is about.
fn sensors(registry: &Registry, filter: &Filter) -> Vec<SensorId> {
    let of_device = |device: &Arc<Device>| device.sensors().into_iter().map(|sensor| sensor.id);
    if filter.is_everything {
        return registry.all().iter().flat_map(of_device).collect();
    }
    let devices = filter.devices.iter().filter_map(|device| registry.get(device.as_str()));
    let of_devices: Vec<_> =
        devices.flat_map(|device| of_device(&device).collect::<Vec<_>>()).collect();
    let named = filter.sensors.iter().filter_map(|sensor| match sensor {
        SensorRef::Id(id) => Some(*id),
        SensorRef::Named(device, name) => {
            registry.get(device.as_str())?.sensor(name.as_str()).map(|sensor| sensor.id)
        }
    });
    let ids: BTreeSet<_> = of_devices.into_iter().chain(named).collect();
    ids.into_iter().collect()
}
