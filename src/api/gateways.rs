//! Gateways: devices of kind `gateway`, with the devices that they speak for.

use std::collections::{BTreeMap, HashMap};

use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
};
use serde::Deserialize;

use super::{
    Api, State, Tag,
    body::Body,
    caller::{Caller, DevicesRead, DevicesWrite},
    devices::{
        DataFate, DeviceFilter, DeviceView, checked_key, checked_text, create, delete, edit_device,
        labels_text, list,
    },
    etag,
    jobs::Removal,
    page::{self, Page},
    problem::{Answer, Created, Fault, One, Retagged},
    select::read_labels,
    sensors::SensorView,
};
use crate::{
    registry::Device,
    store::{DeviceEdit, NewDevice},
    telemetry::{Approval, DeviceKind, Timestamp},
};

pub(super) struct Gateways;

/// A gateway as it is
#[derive(Debug, Clone, Object)]
struct GatewayView {
    #[oai(flatten)]
    device: DeviceView,
    /// Devices that it speaks for
    devices: u64,
    /// Those of them that are online
    devices_online: u64,
    /// Sensors of these devices, and its own
    sensors: u64,
}

/// A gateway to be registered
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct NewGatewayBody {
    /// Its id: 1 to 64 of A-Z a-z 0-9 . _ : -
    device: String,
    name: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

/// All that people set of a gateway; what is left out is removed
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct GatewayBody {
    name: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[OpenApi]
impl Gateways {
    /// List gateways
    ///
    /// By id, page by page.
    #[oai(
        path = "/api/gateways",
        method = "get",
        tag = "Tag::Gateways",
        operation_id = "list_gateways"
    )]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn list(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        /// Only those online, or offline
        online: Query<Option<bool>>,
        /// With this label: `name` or `name:value`; repeated: with all of them
        label: Query<Option<Vec<String>>>,
        /// Part of the id or the name
        q: Query<Option<String>>,
        /// Gateways in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<GatewayView>> {
        let filter = DeviceFilter {
            online: online.0,
            kind: Some(DeviceKind::Gateway),
            labels: read_labels(label.0.unwrap_or_default()),
            text: q.0,
            ..DeviceFilter::default()
        };
        let spoken_for = SpokenFor::of(&api);
        list(&api, &filter, (limit.0, cursor.0), |gateway| spoken_for.view(gateway)).into()
    }

    /// Register a gateway
    #[oai(
        path = "/api/gateways",
        method = "post",
        tag = "Tag::Gateways",
        operation_id = "create_gateway"
    )]
    async fn create(
        &self,
        _caller: Caller<DevicesWrite>,
        api: State<'_>,
        body: Body<NewGatewayBody>,
    ) -> Created<GatewayView> {
        match body.0.and_then(|body| new_gateway(&api, body)) {
            Ok(gateway) => {
                let made = create(&api, gateway).await;
                made.map(|gateway| SpokenFor::of(&api).view(&gateway)).into()
            }
            Err(fault) => fault.into(),
        }
    }

    /// Show a gateway
    #[oai(
        path = "/api/gateways/:gateway",
        method = "get",
        tag = "Tag::Gateways",
        operation_id = "get_gateway"
    )]
    async fn show(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        gateway: Path<String>,
    ) -> One<GatewayView> {
        find(&api, &gateway).map(|gateway| tagged(&api, &gateway)).into()
    }

    /// Replace what is set of a gateway
    ///
    /// With `If-Match`, only if nobody has changed it since it was read.
    #[oai(
        path = "/api/gateways/:gateway",
        method = "put",
        tag = "Tag::Gateways",
        operation_id = "replace_gateway"
    )]
    async fn replace(
        &self,
        _caller: Caller<DevicesWrite>,
        api: State<'_>,
        gateway: Path<String>,
        /// The ETag that the gateway had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Body<GatewayBody>,
    ) -> Retagged<GatewayView> {
        match body.0 {
            Ok(body) => {
                let if_match = if_match.0.as_deref();
                let replace = || replace(&api, &gateway, if_match, body.clone());
                etag::made(if_match, replace).await.into()
            }
            Err(fault) => fault.into(),
        }
    }

    /// Delete a gateway
    ///
    /// As any device; the devices that it spoke for stay.
    #[oai(
        path = "/api/gateways/:gateway",
        method = "delete",
        tag = "Tag::Gateways",
        operation_id = "delete_gateway"
    )]
    async fn delete(
        &self,
        _caller: Caller<DevicesWrite>,
        api: State<'_>,
        gateway: Path<String>,
        /// `delete` if left out
        data: Query<Option<DataFate>>,
        /// The ETag that the gateway had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Removal {
        match find(&api, &gateway) {
            Ok(gateway) => {
                let if_match = if_match.0.as_deref();
                let delete = || delete(&api, &gateway, data.0, if_match);
                etag::made(if_match, delete).await.into()
            }
            Err(fault) => fault.into(),
        }
    }

    /// List a gateway's devices
    #[oai(
        path = "/api/gateways/:gateway/devices",
        method = "get",
        tag = "Tag::Gateways",
        operation_id = "list_gateway_devices"
    )]
    async fn devices(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        gateway: Path<String>,
        /// Only those online, or offline
        online: Query<Option<bool>>,
        /// Devices in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<DeviceView>> {
        let filter = DeviceFilter {
            online: online.0,
            gateway: Some(gateway.0.clone()),
            ..DeviceFilter::default()
        };
        let view = |device: &Device| device.snapshot().into();
        find(&api, &gateway).and_then(|_| list(&api, &filter, (limit.0, cursor.0), view)).into()
    }

    /// List the sensors of a gateway and of its devices
    ///
    /// By number, page by page.
    #[oai(
        path = "/api/gateways/:gateway/sensors",
        method = "get",
        tag = "Tag::Gateways",
        operation_id = "list_gateway_sensors"
    )]
    async fn sensors(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        gateway: Path<String>,
        /// Sensors in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<SensorView>> {
        sensors(&api, &gateway, (limit.0, cursor.0)).into()
    }
}

/// The gateway of that id; a device of another kind is none.
fn find(api: &Api, key: &str) -> Result<std::sync::Arc<Device>, Fault> {
    let device = api.registry.get(key);
    let is_gateway = |device: &Device| device.matches(None, Some(DeviceKind::Gateway), None);
    device.filter(|device| is_gateway(device)).ok_or_else(|| Fault::not_found("gateway"))
}

/// What each gateway speaks for, counted in one go.
struct SpokenFor(HashMap<String, (u64, u64, u64)>);

impl SpokenFor {
    fn of(api: &Api) -> Self {
        let mut counts: HashMap<String, (u64, u64, u64)> = HashMap::new();
        for device in api.registry.all() {
            let Some(gateway) = device.gateway().filter(|_| !device.is_retired()) else {
                continue;
            };
            let (devices, online, sensors) = counts.entry(gateway).or_default();
            *devices += 1;
            *online += u64::from(device.matches(Some(true), None, None));
            *sensors += device.sensors().len() as u64;
        }
        Self(counts)
    }

    fn view(&self, gateway: &Device) -> GatewayView {
        let counts = self.0.get(gateway.key.as_str()).copied();
        let (devices, devices_online, sensors) = counts.unwrap_or_default();
        let sensors = sensors + gateway.sensors().len() as u64;
        GatewayView { device: gateway.snapshot().into(), devices, devices_online, sensors }
    }
}

fn tagged(api: &Api, gateway: &Device) -> (GatewayView, String) {
    let tag = etag::entity_tag(gateway.snapshot().version);
    (SpokenFor::of(api).view(gateway), tag)
}

fn new_gateway(api: &Api, body: NewGatewayBody) -> Result<NewDevice, Fault> {
    Ok(NewDevice {
        key: checked_key("/device", &body.device)?,
        name: body.name.map(|name| checked_text("/name", name)).transpose()?,
        kind: DeviceKind::Gateway,
        gateway: None,
        labels: labels_text(body.labels.unwrap_or_default())?,
        approval: Approval::Active,
        first_seen: Timestamp::from_micros(api.clock.unix_micros()),
    })
}

async fn replace(
    api: &Api,
    key: &str,
    if_match: Option<&str>,
    body: GatewayBody,
) -> Result<(GatewayView, String), Fault> {
    let gateway = find(api, key)?;
    let before = gateway.snapshot();
    etag::check(if_match, before.version)?;
    let edit = DeviceEdit {
        name: body.name.map(|name| checked_text("/name", name)).transpose()?,
        kind: DeviceKind::Gateway,
        gateway: before.gateway,
        labels: labels_text(body.labels.unwrap_or_default())?,
        approval: before.approval,
    };
    edit_device(api, &gateway, (before.version, before.approval), edit).await?;
    Ok(tagged(api, &gateway))
}

fn sensors(
    api: &Api,
    key: &str,
    (limit, cursor): (Option<u32>, Option<String>),
) -> Result<Page<SensorView>, Fault> {
    let limit = page::limit(limit, 100, 1_000)?;
    let after = page::number(cursor.as_deref())?;
    let gateway = find(api, key)?;
    let mut sensors = gateway.sensors();
    for device in api.registry.all() {
        if device.is_behind(key) && !device.is_retired() {
            sensors.extend(device.sensors());
        }
    }
    sensors.retain(|sensor| {
        after.is_none_or(|after| sensor.id.0 > after)
            && sensor.with_settings(|settings| settings.retired_at.is_none())
    });
    sensors.sort_unstable_by_key(|sensor| sensor.id);
    let has_more = sensors.len() > limit;
    sensors.truncate(limit);
    let next = sensors.last().filter(|_| has_more).map(|sensor| sensor.id.0.to_string());
    Ok(Page::new(sensors.iter().map(|sensor| (&**sensor).into()).collect(), next))
}
