//! Devices: look, register, edit, approve, delete.

use std::{collections::HashMap, sync::Arc};

use poem::http::StatusCode;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Api, State, Tag,
    body::Body,
    caller::{Caller, DevicesRead, DevicesWrite},
    credentials::cut_device,
    etag,
    page::{self, Page},
    problem::{Answer, Changed, Created, Deleted, Fault, One},
    wire::Time,
};
use crate::{
    alarm::engine::Order,
    ingest::replay_held,
    registry::{Device, DeviceSnapshot},
    store::{DeviceEdit, DeviceRow, NewDevice},
    telemetry::{Approval, DeviceFacts, DeviceKey, DeviceKind, Timestamp},
};

pub(super) struct Devices;

/// A place on earth (WGS 84, degrees)
#[derive(Debug, Clone, Object)]
struct Location {
    latitude: f64,
    longitude: f64,
}

/// A device as it is
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct DeviceView {
    /// Its id: what it calls itself
    device: String,
    name: Option<String>,
    /// `device` or `gateway`
    kind: String,
    /// The gateway that speaks for it
    gateway: Option<String>,
    online: bool,
    /// What it last said its status is
    status: Option<String>,
    firmware: Option<String>,
    ip: Option<String>,
    uptime_seconds: Option<i64>,
    location: Option<Location>,
    labels: HashMap<String, String>,
    /// `active`; `pending`: its data waits for approval; `blocked`: its data is refused
    approval: String,
    first_seen: Time,
    last_seen: Option<Time>,
    last_heartbeat: Option<Time>,
    /// The device as its last messages describe it: `sensors`, `status`, `location`, …
    last_report: Option<Value>,
}

/// A device to be registered
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct NewDeviceBody {
    /// Its id: 1 to 64 of A-Z a-z 0-9 . _ : -
    device: String,
    name: Option<String>,
    /// `device` (the default) or `gateway`
    kind: Option<String>,
    gateway: Option<String>,
    labels: Option<HashMap<String, String>>,
}

/// What may be changed of a device; what is left out stays
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct DeviceChange {
    /// "" removes it
    name: Option<String>,
    /// `device` or `gateway`
    kind: Option<String>,
    /// "" removes it
    gateway: Option<String>,
    /// Replaces all labels
    labels: Option<HashMap<String, String>>,
    /// `active`, `pending` or `blocked`
    approval: Option<String>,
}

/// What an approval has set free
#[derive(Debug, Clone, Object)]
struct Approved {
    device: DeviceView,
    /// Messages that had been held and are stored with the approval
    replayed: u64,
}

#[OpenApi]
impl Devices {
    /// List devices
    ///
    /// By id, page by page.
    #[oai(
        path = "/api/devices",
        method = "get",
        tag = "Tag::Devices",
        operation_id = "list_devices"
    )]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn list(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        /// Only those online, or offline
        online: Query<Option<bool>>,
        /// `device` or `gateway`
        kind: Query<Option<String>>,
        /// `active`, `pending` or `blocked`
        approval: Query<Option<String>>,
        /// Part of the id or the name
        q: Query<Option<String>>,
        /// Devices in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<DeviceView>> {
        list(&api, online.0, kind.0, approval.0, q.0, (limit.0, cursor.0)).into()
    }

    /// Register a device
    #[oai(
        path = "/api/devices",
        method = "post",
        tag = "Tag::Devices",
        operation_id = "create_device"
    )]
    async fn create(
        &self,
        caller: Caller<DevicesWrite>,
        api: State<'_>,
        body: Body<NewDeviceBody>,
    ) -> Created<DeviceView> {
        match body.0 {
            Ok(body) => create(&api, &caller, body).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Show a device
    #[oai(
        path = "/api/devices/:device",
        method = "get",
        tag = "Tag::Devices",
        operation_id = "get_device"
    )]
    async fn show(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        device: Path<String>,
    ) -> One<Box<DeviceView>> {
        find(&api, &device)
            .map(|device| {
                let snapshot = device.snapshot();
                let version = snapshot.version;
                (version, Box::new(snapshot.into()))
            })
            .into()
    }

    /// Change a device
    ///
    /// With `If-Match`, only if nobody has changed it since it was read. What is connected as a
    /// device that is blocked is cut.
    #[oai(
        path = "/api/devices/:device",
        method = "patch",
        tag = "Tag::Devices",
        operation_id = "update_device"
    )]
    async fn update(
        &self,
        caller: Caller<DevicesWrite>,
        api: State<'_>,
        device: Path<String>,
        /// The ETag that the device had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Body<DeviceChange>,
    ) -> Changed<DeviceView> {
        let change = match body.0 {
            Ok(change) => change,
            Err(fault) => return fault.into(),
        };
        update(&api, &caller, (&device, if_match.0.as_deref()), change).await.into()
    }

    /// Delete a device with its sensors and readings
    ///
    /// Its messages are refused while that goes on; afterwards it is as if never seen.
    #[oai(
        path = "/api/devices/:device",
        method = "delete",
        tag = "Tag::Devices",
        operation_id = "delete_device"
    )]
    async fn delete(
        &self,
        _caller: Caller<DevicesWrite>,
        api: State<'_>,
        device: Path<String>,
    ) -> Deleted {
        delete(&api, &device).await.into()
    }

    /// Approve a pending or blocked device
    ///
    /// What it has sent while it was pending is stored, in order, before the answer.
    #[oai(
        path = "/api/devices/:device/approve",
        method = "post",
        tag = "Tag::Devices",
        operation_id = "approve_device"
    )]
    async fn approve(
        &self,
        _caller: Caller<DevicesWrite>,
        api: State<'_>,
        device: Path<String>,
    ) -> Changed<Approved> {
        approve(&api, &device).await.into()
    }
}

/// The device of that id.
pub(super) fn find(api: &Api, key: &str) -> Result<Arc<Device>, Fault> {
    api.registry.get(key).ok_or_else(|| Fault::not_found("device"))
}

/// A word of a closed list, as a parameter.
fn word<T: std::str::FromStr<Err = crate::telemetry::InvalidWord>>(
    name: &str,
    given: Option<String>,
) -> Result<Option<T>, Fault> {
    given
        .map(|text| {
            text.parse().map_err(|error: crate::telemetry::InvalidWord| {
                Fault::invalid(name, error.to_string())
            })
        })
        .transpose()
}

fn list(
    api: &Api,
    online: Option<bool>,
    kind: Option<String>,
    approval: Option<String>,
    text: Option<String>,
    (limit, cursor): (Option<u32>, Option<String>),
) -> Result<Page<DeviceView>, Fault> {
    let kind: Option<DeviceKind> = word("kind", kind)?;
    let approval: Option<Approval> = word("approval", approval)?;
    let limit = page::limit(limit, 100, 1_000)?;
    let text = text.map(|text| text.to_lowercase());
    let contains = |field: &str| text.as_ref().is_none_or(|t| field.to_lowercase().contains(t));
    let mut found = api
        .registry
        .all()
        .into_iter()
        .filter(|device| cursor.as_ref().is_none_or(|after| device.key.as_str() > after.as_str()))
        .filter(|device| device.matches(online, kind, approval))
        .filter(|device| {
            contains(device.key.as_str()) || device.name().is_some_and(|n| contains(&n))
        });
    let devices: Vec<_> = found.by_ref().take(limit).collect();
    let has_more = found.next().is_some();
    let next = devices.last().filter(|_| has_more).map(|device| device.key.to_string());
    Ok(Page::new(devices.iter().map(|device| device.snapshot().into()).collect(), next))
}

async fn create(
    api: &Api,
    caller: &Caller<DevicesWrite>,
    body: NewDeviceBody,
) -> Result<DeviceView, Fault> {
    let key = DeviceKey::new(&body.device)
        .map_err(|error| Fault::invalid("/device", error.to_string()))?;
    let kind = word("/kind", body.kind)?.unwrap_or_default();
    let gateway = body.gateway.map(|text| checked_key("/gateway", &text)).transpose()?;
    let device = NewDevice {
        key: key.clone(),
        name: body.name.map(|name| checked_text("/name", name)).transpose()?,
        kind,
        gateway,
        labels: labels_text(body.labels.unwrap_or_default())?,
        approval: Approval::Active,
        first_seen: Timestamp::from_micros(api.clock.unix_micros()),
    };
    let id = api.store.create_device(&device).await?;
    let row = DeviceRow {
        id,
        key,
        name: device.name,
        kind,
        gateway: device.gateway,
        facts: DeviceFacts::default(),
        labels: device.labels,
        first_seen: device.first_seen,
        last_seen: None,
        last_heartbeat: None,
        online: false,
        last_report: None,
        approval: device.approval,
        version: 1,
    };
    let device = api.registry.adopt_device(Arc::new(Device::new(row)));
    caller.note(json!({"device": device.key.to_string()}));
    Ok(device.snapshot().into())
}

async fn update(
    api: &Api,
    caller: &Caller<DevicesWrite>,
    (key, if_match): (&str, Option<&str>),
    change: DeviceChange,
) -> Result<DeviceView, Fault> {
    let device = find(api, key)?;
    let before = device.snapshot();
    etag::check(if_match, before.version)?;
    let said_before = said(&before);
    let removed = |text: String| (!text.is_empty()).then_some(text);
    let name = match change.name {
        Some(name) => removed(checked_text("/name", name)?),
        None => before.name,
    };
    let gateway = match change.gateway {
        Some(text) if text.is_empty() => None,
        Some(text) => Some(checked_key("/gateway", &text)?),
        None => before.gateway,
    };
    let labels = match change.labels {
        Some(labels) => labels_text(labels)?,
        None => Value::Object(before.labels).to_string(),
    };
    let approval: Approval = word("/approval", change.approval)?.unwrap_or(before.approval);
    let edit = DeviceEdit {
        name,
        kind: word("/kind", change.kind)?.unwrap_or(before.kind),
        gateway,
        labels,
        approval,
    };
    let version = api.store.update_device(device.id, before.version, &edit).await?;
    device.apply(edit, version);
    api.committer.order(Order::Reconsider { device: device.clone() });
    caller.note(json!({"before": said_before, "after": said(&device.snapshot())}));
    if approval == Approval::Blocked {
        cut_device(api, &device);
    }
    if approval == Approval::Active && before.approval != Approval::Active {
        replay_held(&api.store, &api.tap, device.id, &device.key).await?;
    }
    Ok(device.snapshot().into())
}

/// What the audit log says of a device.
fn said(device: &DeviceSnapshot) -> Value {
    json!({
        "name": device.name,
        "kind": device.kind.to_string(),
        "gateway": device.gateway,
        "labels": device.labels,
        "approval": device.approval.to_string(),
    })
}

async fn approve(api: &Api, key: &str) -> Result<Approved, Fault> {
    let device = find(api, key)?;
    let before = device.snapshot();
    if before.approval != Approval::Active {
        let edit = DeviceEdit {
            name: before.name,
            kind: before.kind,
            gateway: before.gateway,
            labels: Value::Object(before.labels).to_string(),
            approval: Approval::Active,
        };
        let version = api.store.update_device(device.id, before.version, &edit).await?;
        device.apply(edit, version);
        api.committer.order(Order::Reconsider { device: device.clone() });
        tracing::info!(device = %device.key, "device approved");
    }
    let replayed = replay_held(&api.store, &api.tap, device.id, &device.key).await?;
    Ok(Approved { device: device.snapshot().into(), replayed })
}

async fn delete(api: &Api, key: &str) -> Result<(), Fault> {
    let device = find(api, key)?;
    if !device.begin_leaving() {
        let detail = "the device is being deleted already";
        return Err(Fault::new(StatusCode::CONFLICT, detail));
    }
    let sensors: Vec<_> = device.sensors().iter().map(|sensor| sensor.id).collect();
    if let Err(error) = api.store.delete_device(device.id, &sensors).await {
        device.stay();
        return Err(error.into());
    }
    api.registry.remove(&device);
    api.committer.order(Order::Forget { device: device.clone() });
    api.access.devices.forget(device.id);
    cut_device(api, &device);
    tracing::info!(device = %device.key, "device deleted");
    Ok(())
}

const TEXT_MAX: usize = 200;

pub(super) fn checked_text(pointer: &str, text: String) -> Result<String, Fault> {
    if text.chars().count() > TEXT_MAX || text.chars().any(char::is_control) {
        return Err(Fault::invalid(pointer, "at most 200 characters, no control characters"));
    }
    Ok(text)
}

fn checked_key(pointer: &str, text: &str) -> Result<String, Fault> {
    let key = DeviceKey::new(text).map_err(|error| Fault::invalid(pointer, error.to_string()))?;
    Ok(key.to_string())
}

fn labels_text(labels: HashMap<String, String>) -> Result<String, Fault> {
    if labels.len() > 64 {
        return Err(Fault::invalid("/labels", "at most 64 labels"));
    }
    let mut checked = Map::new();
    for (name, value) in labels {
        let (name, value) = (checked_text("/labels", name)?, checked_text("/labels", value)?);
        checked.insert(name, Value::String(value));
    }
    Ok(Value::Object(checked).to_string())
}

impl From<DeviceSnapshot> for DeviceView {
    fn from(device: DeviceSnapshot) -> Self {
        let labels = device.labels.into_iter().filter_map(|(name, value)| match value {
            Value::String(value) => Some((name, value)),
            _ => None,
        });
        let facts = device.facts;
        Self {
            device: device.key.to_string(),
            name: device.name,
            kind: device.kind.to_string(),
            gateway: device.gateway,
            online: device.online,
            status: facts.status,
            firmware: facts.firmware,
            ip: facts.ip,
            uptime_seconds: facts.uptime_seconds,
            location: facts
                .location
                .map(|l| Location { latitude: l.latitude, longitude: l.longitude }),
            labels: labels.collect(),
            approval: device.approval.to_string(),
            first_seen: Time(device.first_seen),
            last_seen: device.last_seen.map(Time),
            last_heartbeat: device.last_heartbeat.map(Time),
            last_report: device.last_report.map(Value::Object),
        }
    }
}
