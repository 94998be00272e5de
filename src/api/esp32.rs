//! The ESP32 monitor's dashboard surface, as its users know it.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use poem_openapi::{Object, OpenApi};

use super::{
    Api, State, Tag,
    caller::{Caller, DataRead, DevicesRead},
    problem::{Fault, Shown},
    wire::Time,
};
use crate::{
    store::{HistoryQuery, Order},
    telemetry::Timestamp,
};

pub(super) struct Esp32;

/// Readings of each device in the recent view.
const RECENT: usize = 50;
/// Devices in it; the ones seen last.
const DEVICES_MAX: usize = 200;

/// A device in the status list
#[derive(Debug, Clone, Object)]
struct DeviceStatus {
    device_id: String,
    #[oai(nullable)]
    fw_version: Option<String>,
    #[oai(nullable)]
    ip: Option<String>,
    #[oai(nullable)]
    uptime_sec: Option<i64>,
    /// `online` or `offline`
    status: String,
    #[oai(nullable)]
    last_seen: Option<Time>,
}

/// A device's recent temperatures, oldest first
#[derive(Debug, Clone, Object)]
struct RecentTemperatures {
    temps: Vec<f64>,
    /// `HH:MM:SS` in the configured zone
    timestamps: Vec<String>,
    full_timestamps: Vec<Time>,
}

#[OpenApi]
impl Esp32 {
    /// Status of all devices
    ///
    /// In the form of the ESP32 monitor's dashboard.
    #[oai(
        path = "/api/device_status",
        method = "get",
        tag = "Tag::Devices",
        operation_id = "device_status"
    )]
    async fn device_status(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
    ) -> Shown<Vec<DeviceStatus>> {
        let devices = api.registry.all();
        let devices = devices.iter().filter(|device| !device.is_retired());
        let status = devices.map(|device| {
            let device = device.snapshot();
            DeviceStatus {
                device_id: device.key.to_string(),
                fw_version: device.facts.firmware,
                ip: device.facts.ip,
                uptime_sec: device.facts.uptime_seconds,
                status: if device.online { "online" } else { "offline" }.to_owned(),
                last_seen: device.last_seen.map(Time),
            }
        });
        Shown::Ok(poem_openapi::payload::Json(status.collect()))
    }

    /// Last 50 temperatures of each device
    ///
    /// In the form of the ESP32 monitor's dashboard: the sensor `temperature` of the 200 devices
    /// seen last; readings without a value are left out.
    #[oai(
        path = "/api/telemetry_recent",
        method = "get",
        tag = "Tag::Data",
        operation_id = "telemetry_recent"
    )]
    async fn telemetry_recent(
        &self,
        _caller: Caller<DataRead>,
        api: State<'_>,
    ) -> Shown<BTreeMap<String, RecentTemperatures>> {
        recent(&api).await.into()
    }
}

async fn recent(api: &Api) -> Result<BTreeMap<String, RecentTemperatures>, Fault> {
    let mut sensors: Vec<_> = api
        .registry
        .all()
        .iter()
        .filter_map(|device| device.sensor("temperature"))
        .filter_map(|sensor| Some((sensor.newest()?.event_time, sensor)))
        .collect();
    sensors.sort_by_key(|(newest, _)| std::cmp::Reverse(*newest));
    sensors.truncate(DEVICES_MAX);
    let mut recent = BTreeMap::new();
    for (_, sensor) in sensors {
        let query = HistoryQuery {
            sensors: vec![sensor.id],
            from: None,
            to: None,
            order: Order::Descending,
            limit: RECENT,
            after: None,
            offset: 0,
        };
        let page = api.store.history(&query).await?;
        let mut temperatures =
            RecentTemperatures { temps: vec![], timestamps: vec![], full_timestamps: vec![] };
        for reading in page.readings.iter().rev() {
            if let Some(value) = reading.value {
                temperatures.temps.push(value);
                temperatures.timestamps.push(of_day(reading.event_time, api.tap.zone()));
                temperatures.full_timestamps.push(Time(reading.event_time));
            }
        }
        recent.insert(sensor.device.to_string(), temperatures);
    }
    Ok(recent)
}

fn of_day(time: Timestamp, zone: &TimeZone) -> String {
    jiff::Timestamp::from_microsecond(time.as_micros())
        .map(|time| time.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string())
        .unwrap_or_default()
}
