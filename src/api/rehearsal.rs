//! What would become of a message, without anything being kept of it.

use poem::http::StatusCode;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Query},
};

use super::{
    Api, State, Tag,
    body::RawJson,
    caller::{Caller, TelemetryWrite},
    problem::{Changed, Fault, FieldError},
    uploads::{ReadingOutcome, TELEMETRY, UPLOAD},
};
use crate::{
    alarm::engine::Happened,
    ingest::{Upload, Verdict},
    routes::PayloadForm,
    telemetry::DeviceKey,
};

pub(super) struct Rehearsal;

/// What would become of a message
#[derive(Debug, Clone, Object)]
struct Rehearsed {
    /// `stored`, `partial`, `held` or `refused`
    status: String,
    /// Readings that would be stored, or are already
    accepted: u64,
    /// What would be refused, and why
    rejected: Vec<FieldError>,
    /// Reading by reading
    readings: Vec<ReadingOutcome>,
    /// The device would be registered
    registers_device: bool,
    /// Sensors that would be registered
    registers_sensors: Vec<String>,
    /// What would happen to alarms at once; delays are not waited for
    alarms: Vec<AlarmOutcome>,
}

/// What a message would do to an alarm
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct AlarmOutcome {
    /// `raised`, `escalated`, `deescalated`, `cleared`, or another of the kinds of an alarm's events
    kind: String,
    rule: String,
    device: String,
    /// Left out where the alarm is the device's
    sensor: Option<String>,
    severity: String,
    /// Of the reading that would do it
    value: Option<f64>,
    message: String,
}

impl From<Happened> for AlarmOutcome {
    fn from(happened: Happened) -> Self {
        Self {
            kind: happened.kind.as_str().to_owned(),
            rule: happened.rule,
            device: happened.device.to_string(),
            sensor: happened.sensor.map(|name| name.to_string()),
            severity: happened.severity.as_str().to_owned(),
            value: happened.value,
            message: happened.message,
        }
    }
}

#[OpenApi]
impl Rehearsal {
    /// Try a message out
    ///
    /// It goes the way of any message, and nothing of it is kept. Whose it is: the key's device, else
    /// the topic's, else the header `X-Device-ID`, else `device_id` or `device_uuid` in the body.
    #[oai(
        path = "/api/ingest/dry-run",
        method = "post",
        tag = "Tag::Data",
        operation_id = "rehearse_message"
    )]
    async fn rehearse(
        &self,
        caller: Caller<TelemetryWrite>,
        api: State<'_>,
        /// The MQTT topic or the upload's path that it would come by; `/api/devices/data/upload` if
        /// left out
        topic: Query<Option<String>>,
        /// Whose data it is
        #[oai(name = "X-Device-ID")]
        device_id: Header<Option<String>>,
        body: RawJson,
    ) -> Changed<Rehearsed> {
        let bound = caller.principal.device;
        rehearse(&api, topic.0, (bound, device_id.0), body).await.into()
    }
}

async fn rehearse(
    api: &Api,
    topic: Option<String>,
    (bound, named): (Option<DeviceKey>, Option<String>),
    body: RawJson,
) -> Result<Rehearsed, Fault> {
    let topic = topic.unwrap_or_else(|| UPLOAD.to_owned());
    let is_upload = [TELEMETRY, UPLOAD].contains(&topic.as_str());
    if !is_upload && !api.tap.takes(&topic) {
        return Err(Fault::invalid("topic", "no route of ingest takes this topic"));
    }
    if !is_upload && bound.is_some() {
        let detail = "the key is bound to a device: it may try uploads out only";
        return Err(Fault::new(StatusCode::FORBIDDEN, detail));
    }
    let named = named.map(|text| {
        DeviceKey::new(&text).map_err(|error| Fault::invalid("X-Device-ID", error.to_string()))
    });
    let device = match bound {
        Some(device) => Some(device),
        None => named.transpose()?,
    };
    let form = if topic == TELEMETRY { PayloadForm::Esp32 } else { PayloadForm::Auto };
    let source = if is_upload { "http" } else { "mqtt" };
    let upload = Upload {
        source,
        topic,
        payload: body.0,
        device,
        form,
        received_at: None,
        is_kept_already: false,
    };
    let told = api.tap.rehearse(upload).await;
    if told.verdict == Verdict::Unavailable {
        return Err(Fault::unavailable());
    }
    Ok(Rehearsed {
        status: told.verdict.label().to_owned(),
        accepted: told.verdict.accepted() as u64,
        rejected: told.verdict.rejections().iter().map(FieldError::from).collect(),
        readings: told.readings.into_iter().map(ReadingOutcome::from).collect(),
        registers_device: told.registers_device,
        registers_sensors: told.registers_sensors,
        alarms: told.alarms.into_iter().map(AlarmOutcome::from).collect(),
    })
}
