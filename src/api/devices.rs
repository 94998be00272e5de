//! Devices: look, register, edit, approve, retire, delete.

mod listing;
mod view;

use std::sync::Arc;

use poem_openapi::{
    Enum, Object, OpenApi,
    param::{Header, Path, Query},
    types::{ParseFromJSON, ToJSON, Type},
};
use serde_json::{Value, json};

pub(super) use self::view::{
    DeviceView, checked_key, checked_text, checked_text_of, labels_text, word,
};
use self::{
    listing::{DeviceInclude, DeviceState, ListedDevice, Listing},
    view::{DeviceChange, NewDeviceBody},
};
use super::{
    Api, State, Tag,
    body::Body,
    caller::{Caller, DevicesRead, DevicesWrite},
    credentials::cut_device,
    etag,
    jobs::{JobView, Removal, Removed},
    page::{self, Page},
    problem::{Answer, Changed, Created, Fault, One},
    select::read_labels,
};
use crate::{
    alarm::engine::Order,
    ingest::replay_held,
    registry::{Device, DeviceSnapshot},
    store::{DeviceEdit, DeviceRow, NewDevice},
    telemetry::{Approval, DeviceKind, Timestamp},
};

pub(super) struct Devices;

/// What becomes of the readings of what is deleted
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum DataFate {
    /// Deleted with it, by a job
    Delete,
    /// Kept: it is out of the lists and takes no more data, and can be brought back
    Keep,
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
    /// By id, page by page, or in an order of choice: then pages have numbers, and `total` says how
    /// many devices there are.
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
        /// Of this gateway only
        gateway: Query<Option<String>>,
        /// With this label: `name` or `name:value`; repeated: with all of them
        label: Query<Option<Vec<String>>>,
        /// `true`: only those that are out of the lists
        retired: Query<Option<bool>>,
        /// Part of the id or the name
        q: Query<Option<String>>,
        /// Part of the id, the name, the value of a label, or the place of a sensor
        search: Query<Option<String>>,
        /// Only those that are `online` or `offline` (and active), `pending` or `blocked`
        status: Query<Option<DeviceState>>,
        /// `key`, `name`, `last_seen`, `first_seen` or `alarm` (the gravest first); with `-` before it
        /// the other way round
        sort: Query<Option<String>>,
        /// `latest`: with the newest readings and the active alarms of each
        include: Query<Option<DeviceInclude>>,
        /// Devices in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
        /// A page by number, from 1
        page: Query<Option<u32>>,
        /// Its size, 1 to 1000; 20 if left out
        per_page: Query<Option<u32>>,
    ) -> Answer<Page<ListedDevice>> {
        let filter = DeviceFilter::read(kind.0, approval.0, label.0);
        let filter = match filter {
            Ok(filter) => DeviceFilter {
                online: online.0,
                gateway: gateway.0,
                is_retired: retired.0.unwrap_or(false),
                text: q.0,
                ..filter
            },
            Err(fault) => return fault.into(),
        };
        let listing = Listing {
            status: status.0,
            search: search.0,
            sort: sort.0,
            include: include.0,
            limit: limit.0,
            cursor: cursor.0,
            numbered: (page.0, per_page.0),
        };
        listing::list(&api, &filter, listing).await.into()
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
            Ok(body) => match new_device(&api, body) {
                Ok(device) => {
                    caller.note(json!({"device": device.key.to_string()}));
                    create(&api, device).await.map(|d| d.snapshot().into()).into()
                }
                Err(fault) => fault.into(),
            },
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
                let tag = etag::entity_tag(snapshot.version);
                (Box::new(snapshot.into()), tag)
            })
            .into()
    }

    /// Change a device
    ///
    /// With `If-Match`, only if nobody has changed it since it was read. What is connected as a
    /// device that is blocked is cut; `approval` other than `blocked` brings a retired one back.
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
        let if_match = if_match.0.as_deref();
        let update = || update(&api, &caller, (&device, if_match), change.clone());
        etag::made(if_match, update).await.into()
    }

    /// Delete a device
    ///
    /// With its sensors and readings, and the keys that are bound to it, by a job: its messages are
    /// refused while that goes on; afterwards it is as if never seen. With `data=keep` it is retired instead, at once.
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
        /// `delete` if left out
        data: Query<Option<DataFate>>,
        /// The ETag that the device had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Removal {
        match find(&api, &device) {
            Ok(device) => {
                let if_match = if_match.0.as_deref();
                let delete = || delete(&api, &device, data.0, if_match);
                etag::made(if_match, delete).await.into()
            }
            Err(fault) => fault.into(),
        }
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
        etag::made(None, || approve(&api, &device)).await.into()
    }
}

/// The device of that id.
pub(super) fn find(api: &Api, key: &str) -> Result<Arc<Device>, Fault> {
    api.registry.get(key).ok_or_else(|| Fault::not_found("device"))
}

/// Which devices are asked for.
#[derive(Default)]
pub(super) struct DeviceFilter {
    pub(super) online: Option<bool>,
    pub(super) kind: Option<DeviceKind>,
    pub(super) approval: Option<Approval>,
    pub(super) gateway: Option<String>,
    pub(super) labels: Vec<(String, Option<String>)>,
    pub(super) is_retired: bool,
    pub(super) text: Option<String>,
}

impl DeviceFilter {
    fn read(
        kind: Option<String>,
        approval: Option<String>,
        labels: Option<Vec<String>>,
    ) -> Result<Self, Fault> {
        let labels = read_labels(labels.unwrap_or_default());
        let (kind, approval) = (word("kind", kind)?, word("approval", approval)?);
        Ok(Self { kind, approval, labels, ..Self::default() })
    }

    pub(super) fn has(&self, device: &Device) -> bool {
        let text = self.text.as_ref().map(|text| text.to_lowercase());
        let contains = |field: &str| text.as_ref().is_none_or(|t| field.to_lowercase().contains(t));
        device.matches(self.online, self.kind, self.approval)
            && device.is_retired() == self.is_retired
            && self.gateway.as_ref().is_none_or(|gateway| device.is_behind(gateway))
            && device.has_labels(&self.labels)
            && (contains(device.key.as_str()) || device.name().is_some_and(|n| contains(&n)))
    }
}

/// A page of devices as `view` shows them.
pub(super) fn list<T: Type + ParseFromJSON + ToJSON>(
    api: &Api,
    filter: &DeviceFilter,
    (limit, cursor): (Option<u32>, Option<String>),
    view: impl Fn(&Device) -> T,
) -> Result<Page<T>, Fault> {
    let limit = page::limit(limit, 100, 1_000)?;
    let mut found = api
        .registry
        .all()
        .into_iter()
        .filter(|device| cursor.as_ref().is_none_or(|after| device.key.as_str() > after.as_str()))
        .filter(|device| filter.has(device));
    let devices: Vec<_> = found.by_ref().take(limit).collect();
    let has_more = found.next().is_some();
    let next = devices.last().filter(|_| has_more).map(|device| device.key.to_string());
    Ok(Page::new(devices.iter().map(|device| view(device)).collect(), next))
}

fn new_device(api: &Api, body: NewDeviceBody) -> Result<NewDevice, Fault> {
    let gateway = body.gateway.map(|text| checked_key("/gateway", &text)).transpose()?;
    Ok(NewDevice {
        key: checked_key("/device", &body.device)?,
        name: body.name.map(|name| checked_text("/name", name)).transpose()?,
        kind: word("/kind", body.kind)?.unwrap_or_default(),
        gateway: gateway.map(|key| key.to_string()),
        labels: labels_text(body.labels.unwrap_or_default())?,
        approval: Approval::Active,
        first_seen: Timestamp::from_micros(api.clock.unix_micros()),
    })
}

pub(super) async fn create(api: &Api, device: NewDevice) -> Result<Arc<Device>, Fault> {
    let id = api.store.create_device(&device).await?;
    let row = DeviceRow::made(id, &device);
    let device = api.registry.adopt_device(Arc::new(Device::new(row)));
    api.committer.order(Order::Reconsider { device: device.clone() });
    Ok(device)
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
        Some(text) => Some(checked_key("/gateway", &text)?.to_string()),
        None => before.gateway,
    };
    let labels = match change.labels {
        Some(labels) => labels_text(labels)?,
        None => Value::Object(before.labels).to_string(),
    };
    let edit = DeviceEdit {
        name,
        kind: word("/kind", change.kind)?.unwrap_or(before.kind),
        gateway,
        labels,
        approval: word("/approval", change.approval)?.unwrap_or(before.approval),
    };
    edit_device(api, &device, (before.version, before.approval), edit).await?;
    let after = device.snapshot();
    caller.note(json!({"before": said_before, "after": said(&after)}));
    Ok(after.into())
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

/// Stores an edit; one that approves the device sets free what is held of it, one that blocks it
/// cuts what is connected as it.
pub(super) async fn edit_device(
    api: &Api,
    device: &Arc<Device>,
    (version, approval): (i64, Approval),
    edit: DeviceEdit,
) -> Result<(), Fault> {
    let is_approved = edit.approval == Approval::Active && approval != Approval::Active;
    let is_blocked = edit.approval == Approval::Blocked;
    let version = api.store.update_device(device.id, version, &edit).await?;
    device.apply(edit, version);
    api.committer.order(Order::Reconsider { device: device.clone() });
    if is_blocked {
        cut_device(api, device);
    }
    if is_approved {
        replay_held(&api.store, &api.tap, device.id, &device.key).await?;
    }
    Ok(())
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

pub(super) async fn delete(
    api: &Api,
    device: &Arc<Device>,
    fate: Option<DataFate>,
    if_match: Option<&str>,
) -> Result<Removed, Fault> {
    let version = device.snapshot().version;
    etag::check(if_match, version)?;
    if fate == Some(DataFate::Keep) {
        let now = Timestamp::from_micros(api.clock.unix_micros());
        let version = api.store.retire_device(device.id, version, now).await?;
        device.retire(now, version);
        api.committer.order(Order::Reconsider { device: device.clone() });
        cut_device(api, device);
        tracing::info!(device = %device.key, "device retired");
        return Ok(Removed::Kept);
    }
    let job = api.jobs.delete_device(device).await?;
    cut_device(api, device);
    Ok(Removed::Ordered(Box::new(JobView::from(job))))
}
