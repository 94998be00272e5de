//! Sensors: look, register, edit, retire, delete; by their number, or by device and name.

mod view;

use std::sync::Arc;

use poem_openapi::{
    OpenApi,
    param::{Header, Path, Query},
};

use serde_json::json;

pub(super) use self::view::SensorView;
use self::view::{NewSensorBody, SensorBody, SensorChange};
use super::{
    Api, State, Tag,
    body::Body,
    caller::{Caller, DevicesRead, DevicesWrite},
    devices::{DataFate, find},
    etag,
    jobs::{JobView, Removal, Removed},
    page::{self, Page},
    problem::{Answer, Created, Fault, One, Retagged},
    select::{Selection, read_labels},
};
use crate::{
    alarm::engine::Order,
    registry::{Sensor, SensorSettings},
    store::SensorEdit,
    telemetry::{SensorId, SensorName, Timestamp},
};

pub(super) struct Sensors;

#[OpenApi]
impl Sensors {
    /// List sensors
    ///
    /// By number, page by page.
    #[oai(
        path = "/api/sensors",
        method = "get",
        tag = "Tag::Sensors",
        operation_id = "list_sensors"
    )]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn list(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        /// Of this device only; repeated: of any of them
        device_id: Query<Option<Vec<String>>>,
        /// Of the devices of this gateway only
        gateway: Query<Option<String>>,
        /// Of this name only; repeated: of any of them
        name: Query<Option<Vec<String>>>,
        /// Of this type only; repeated: of any of them
        #[oai(name = "type")]
        kind: Query<Option<Vec<String>>>,
        /// In this unit only
        unit: Query<Option<String>>,
        /// Of devices with this label: `name` or `name:value`; repeated: with all of them
        label: Query<Option<Vec<String>>>,
        /// Only those active, or inactive
        active: Query<Option<bool>>,
        /// `true`: only those that are out of the lists
        retired: Query<Option<bool>>,
        /// Part of the name, the display name or the location
        q: Query<Option<String>>,
        /// Sensors in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<SensorView>> {
        let selection = Selection {
            devices: device_id.0.unwrap_or_default(),
            names: name.0.unwrap_or_default(),
            kinds: kind.0.unwrap_or_default(),
            gateway: gateway.0,
            labels: read_labels(label.0.unwrap_or_default()),
            with_retired: retired.0.unwrap_or(false),
            ..Selection::default()
        };
        let filter = SensorFilter {
            unit: unit.0,
            active: active.0,
            is_retired: retired.0.unwrap_or(false),
            text: q.0.map(|text| text.to_lowercase()),
        };
        list(&api, &selection, &filter, (limit.0, cursor.0)).into()
    }

    /// Register a sensor
    ///
    /// Before its first reading; one that reports by itself is registered by that.
    #[oai(
        path = "/api/sensors",
        method = "post",
        tag = "Tag::Sensors",
        operation_id = "create_sensor"
    )]
    async fn create(
        &self,
        _caller: Caller<DevicesWrite>,
        api: State<'_>,
        body: Body<NewSensorBody>,
    ) -> Created<SensorView> {
        match body.0 {
            Ok(body) => create(&api, body).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Show a sensor
    #[oai(
        path = "/api/sensors/:id",
        method = "get",
        tag = "Tag::Sensors",
        operation_id = "get_sensor"
    )]
    async fn show(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        id: Path<i64>,
    ) -> One<SensorView> {
        numbered(&api, id.0).map(|sensor| tagged(&sensor)).into()
    }

    /// Replace what is set of a sensor
    ///
    /// With `If-Match`, only if nobody has changed it since it was read. `active: true` brings a
    /// retired sensor back.
    #[oai(
        path = "/api/sensors/:id",
        method = "put",
        tag = "Tag::Sensors",
        operation_id = "replace_sensor"
    )]
    async fn replace(
        &self,
        caller: Caller<DevicesWrite>,
        api: State<'_>,
        id: Path<i64>,
        /// The ETag that the sensor had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Body<SensorBody>,
    ) -> Retagged<SensorView> {
        let edit = |_: &Sensor| body.0.clone()?.edit();
        let sensor = numbered(&api, id.0);
        change((&api, &caller), sensor, if_match.0.as_deref(), edit).await.into()
    }

    /// Change a sensor
    ///
    /// As above; what is left out stays.
    #[oai(
        path = "/api/sensors/:id",
        method = "patch",
        tag = "Tag::Sensors",
        operation_id = "change_sensor"
    )]
    async fn update(
        &self,
        caller: Caller<DevicesWrite>,
        api: State<'_>,
        id: Path<i64>,
        /// The ETag that the sensor had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Body<SensorChange>,
    ) -> Retagged<SensorView> {
        let edit = |sensor: &Sensor| body.0.clone()?.edit(sensor.settings());
        let sensor = numbered(&api, id.0);
        change((&api, &caller), sensor, if_match.0.as_deref(), edit).await.into()
    }

    /// Delete a sensor
    ///
    /// With its readings, by a job: its readings are refused while that goes on; afterwards it is as
    /// if never seen. With `data=keep` it is retired instead, at once.
    #[oai(
        path = "/api/sensors/:id",
        method = "delete",
        tag = "Tag::Sensors",
        operation_id = "delete_sensor"
    )]
    async fn delete(
        &self,
        _caller: Caller<DevicesWrite>,
        api: State<'_>,
        id: Path<i64>,
        /// `delete` if left out
        data: Query<Option<DataFate>>,
        /// The ETag that the sensor had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Removal {
        match numbered(&api, id.0) {
            Ok(sensor) => {
                let if_match = if_match.0.as_deref();
                let delete = || delete(&api, &sensor, data.0, if_match);
                etag::made(if_match, delete).await.into()
            }
            Err(fault) => fault.into(),
        }
    }

    /// List a device's sensors
    #[oai(
        path = "/api/devices/:device/sensors",
        method = "get",
        tag = "Tag::Sensors",
        operation_id = "list_device_sensors"
    )]
    async fn of_device(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        device: Path<String>,
    ) -> Answer<Page<SensorView>> {
        find(&api, &device)
            .map(|device| {
                let sensors = device.sensors().iter().map(|sensor| (&**sensor).into()).collect();
                Page::new(sensors, None)
            })
            .into()
    }

    /// Change a device's sensor
    ///
    /// As by its number.
    #[oai(
        path = "/api/devices/:device/sensors/:sensor",
        method = "patch",
        tag = "Tag::Sensors",
        operation_id = "update_sensor"
    )]
    async fn update_named(
        &self,
        caller: Caller<DevicesWrite>,
        api: State<'_>,
        device: Path<String>,
        /// Its name
        sensor: Path<String>,
        /// The ETag that the sensor had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Body<SensorChange>,
    ) -> Retagged<SensorView> {
        let named = find(&api, &device)
            .and_then(|device| device.sensor(&sensor).ok_or_else(|| Fault::not_found("sensor")));
        let edit = |sensor: &Sensor| body.0.clone()?.edit(sensor.settings());
        change((&api, &caller), named, if_match.0.as_deref(), edit).await.into()
    }
}

fn numbered(api: &Api, id: i64) -> Result<Arc<Sensor>, Fault> {
    api.registry.sensor(SensorId(id)).ok_or_else(|| Fault::not_found("sensor"))
}

/// Other alarm rules may be for a sensor once it is edited.
fn reconsider(api: &Api, sensor: &Sensor) {
    if let Some(device) = api.registry.get(sensor.device.as_str()) {
        api.committer.order(Order::Reconsider { device });
    }
}

fn tagged(sensor: &Sensor) -> (SensorView, String) {
    let version = sensor.with_settings(|settings| settings.version);
    (sensor.into(), etag::entity_tag(version))
}

struct SensorFilter {
    unit: Option<String>,
    active: Option<bool>,
    is_retired: bool,
    /// In lower case.
    text: Option<String>,
}

impl SensorFilter {
    fn has(&self, sensor: &Sensor) -> bool {
        let text = self.text.as_deref();
        let contains = |field: &str| text.is_none_or(|t| field.to_lowercase().contains(t));
        sensor.with_settings(|settings| {
            self.active.is_none_or(|active| settings.active == active)
                && self.unit.as_ref().is_none_or(|u| settings.unit.as_deref() == Some(u))
                && settings.retired_at.is_some() == self.is_retired
                && (contains(sensor.name.as_str())
                    || settings.display_name.as_deref().is_some_and(contains)
                    || settings.location.as_deref().is_some_and(contains))
        })
    }
}

fn list(
    api: &Api,
    selection: &Selection,
    filter: &SensorFilter,
    (limit, cursor): (Option<u32>, Option<String>),
) -> Result<Page<SensorView>, Fault> {
    let limit = page::limit(limit, 100, 1_000)?;
    let after = page::number(cursor.as_deref())?;
    let mut sensors = selection.sensors(api, usize::MAX)?;
    sensors.retain(|sensor| after.is_none_or(|after| sensor.id.0 > after) && filter.has(sensor));
    sensors.sort_unstable_by_key(|sensor| sensor.id);
    let has_more = sensors.len() > limit;
    sensors.truncate(limit);
    let next = sensors.last().filter(|_| has_more).map(|sensor| sensor.id.0.to_string());
    Ok(Page::new(sensors.iter().map(|sensor| (&**sensor).into()).collect(), next))
}

async fn create(api: &Api, body: NewSensorBody) -> Result<SensorView, Fault> {
    let no_device = || Fault::invalid("/device", "there is no such device");
    let device = api.registry.get(&body.device).ok_or_else(no_device)?;
    if device.is_leaving() {
        return Err(Fault::invalid("/device", "the device is being deleted"));
    }
    let name = body.name.as_deref().map(SensorName::in_topic).transpose();
    let name = name.map_err(|error| Fault::invalid("/name", error.to_string()))?;
    let edit = body.edit()?;
    let now = Timestamp::from_micros(api.clock.unix_micros());
    let row = api.store.create_sensor(device.id, name.as_ref(), &edit, now).await?;
    let version = row.version;
    let made = Arc::new(Sensor::new(device.key.clone(), row));
    let sensor = api.registry.adopt_sensor(&device, made.clone());
    if !Arc::ptr_eq(&sensor, &made) {
        // A reading has brought it in meanwhile, without its settings.
        sensor.apply(edit, version);
    }
    reconsider(api, &sensor);
    Ok((&*sensor).into())
}

async fn change(
    (api, caller): (&Api, &Caller<DevicesWrite>),
    sensor: Result<Arc<Sensor>, Fault>,
    if_match: Option<&str>,
    edit: impl Fn(&Sensor) -> Result<SensorEdit, Fault> + Sync,
) -> Result<(SensorView, String), Fault> {
    let sensor = sensor?;
    let (edit, said_before, version) = etag::made(if_match, async || {
        let before = sensor.settings();
        etag::check(if_match, before.version)?;
        let edit = edit(&sensor)?;
        let version = api.store.update_sensor(sensor.id, before.version, &edit).await?;
        Ok((edit, said(&before), version))
    })
    .await?;
    sensor.apply(edit, version);
    caller.note(json!({"before": said_before, "after": said(&sensor.settings())}));
    reconsider(api, &sensor);
    Ok(tagged(&sensor))
}

/// What the audit log says of a sensor.
fn said(sensor: &SensorSettings) -> serde_json::Value {
    json!({
        "display_name": sensor.display_name,
        "type": sensor.kind,
        "unit": sensor.unit.as_ref().map(ToString::to_string),
        "location": sensor.location,
        "min": sensor.min,
        "max": sensor.max,
        "active": sensor.active,
    })
}

async fn delete(
    api: &Api,
    sensor: &Sensor,
    fate: Option<DataFate>,
    if_match: Option<&str>,
) -> Result<Removed, Fault> {
    let version = sensor.with_settings(|settings| settings.version);
    etag::check(if_match, version)?;
    if fate == Some(DataFate::Keep) {
        let now = Timestamp::from_micros(api.clock.unix_micros());
        let version = api.store.retire_sensor(sensor.id, version, now).await?;
        sensor.retire(now, version);
        reconsider(api, sensor);
        tracing::info!(device = %sensor.device, sensor = %sensor.name, "sensor retired");
        return Ok(Removed::Kept);
    }
    let job = api.jobs.delete_sensor(sensor).await?;
    Ok(Removed::Ordered(Box::new(JobView::from(job))))
}
