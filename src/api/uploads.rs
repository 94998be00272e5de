//! Devices that speak HTTP: the ESP32 monitor's and the AIOT service's uploads, through the same tap
//! as MQTT. A 2xx means stored.

use poem::{Request, http::StatusCode};
use poem_openapi::{ApiResponse, Object, OpenApi, payload::Json};

use super::{
    State, Tag,
    body::RawJson,
    caller::{Caller, TelemetryWrite},
    problem::{Fault, FieldError, Problem},
    wire::Time,
};
use crate::{
    ingest::{self, Detailed, ReadingResult, Upload, Verdict},
    routes::PayloadForm,
    telemetry::{DeviceKey, Timestamp},
};

pub(super) struct Uploads;

pub(super) const TELEMETRY: &str = "/api/telemetry";
pub(super) const UPLOAD: &str = "/api/devices/data/upload";

/// A stored ESP32 upload
#[derive(Debug, Clone, Object)]
struct TelemetryStored {
    ok: bool,
    /// When it was stored
    timestamp: Time,
    /// The reading's event time, in microseconds since 1970
    record_id: i64,
}

/// What became of a reading
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ReadingOutcome {
    sensor: String,
    /// `stored`, `duplicate` (the same is stored already) or `refused`
    result: String,
    /// What is stored
    event_time: Option<Time>,
    value: Option<f64>,
    quality: Option<String>,
    /// Why it was refused, in a word and in a sentence
    reason: Option<String>,
    detail: Option<String>,
}

impl From<ingest::ReadingOutcome> for ReadingOutcome {
    fn from(outcome: ingest::ReadingOutcome) -> Self {
        let reason = match outcome.result {
            ReadingResult::Refused(reason) => Some(reason.label().to_owned()),
            _ => None,
        };
        Self {
            sensor: outcome.sensor,
            result: outcome.result.label().to_owned(),
            event_time: outcome.event_time.map(Time),
            value: outcome.value,
            quality: outcome.quality.map(|quality| quality.to_string()),
            reason,
            detail: outcome.detail,
        }
    }
}

/// What became of an upload
#[derive(Debug, Clone, Object)]
struct UploadResult {
    /// All of it is stored, or was already
    ok: bool,
    /// `stored`, `partial` or `held`
    status: String,
    /// Readings that are stored
    accepted: u64,
    /// Readings that were refused, and why
    rejected: Vec<FieldError>,
    /// Reading by reading
    readings: Vec<ReadingOutcome>,
    timestamp: Time,
}

macro_rules! upload_answer {
    ($name:ident, $stored:ty) => {
        #[derive(ApiResponse)]
        enum $name {
            /// Stored
            #[oai(status = 200)]
            Stored(Json<$stored>),
            /// Held until the device is approved
            #[oai(status = 202)]
            Held(Json<$stored>),
            /// The body is not JSON
            #[oai(status = 400, content_type = "application/problem+json")]
            BadRequest(Json<Problem>),
            /// A key is needed
            #[oai(status = 401, content_type = "application/problem+json")]
            Unauthorized(Json<Problem>),
            /// The device is not registered, or blocked
            #[oai(status = 403, content_type = "application/problem+json")]
            Forbidden(Json<Problem>),
            /// The body is too large
            #[oai(status = 413, content_type = "application/problem+json")]
            TooLarge(Json<Problem>),
            /// Nothing in the message could be stored
            #[oai(status = 422, content_type = "application/problem+json")]
            Refused(Json<Problem>),
            /// Not stored; try again
            #[oai(status = 503, content_type = "application/problem+json")]
            Unavailable(Json<Problem>),
        }

        impl From<Fault> for $name {
            fn from(fault: Fault) -> Self {
                match fault.status.as_u16() {
                    400 => Self::BadRequest(Json(fault.problem())),
                    401 => Self::Unauthorized(Json(fault.problem())),
                    403 => Self::Forbidden(Json(fault.problem())),
                    413 => Self::TooLarge(Json(fault.problem())),
                    422 => Self::Refused(Json(fault.problem())),
                    _ => Self::Unavailable(Json(fault.problem())),
                }
            }
        }
    };
}

upload_answer!(TelemetryAnswer, TelemetryStored);
upload_answer!(UploadAnswer, UploadResult);

#[OpenApi]
impl Uploads {
    /// Upload of an ESP32 cabinet monitor
    ///
    /// `{"deviceId", "fwVersion", "ip", "uptimeSec", "tempC"}`; `tempC` is null when the probe could
    /// not be read.
    #[oai(
        path = "/api/telemetry",
        method = "post",
        tag = "Tag::Data",
        operation_id = "upload_telemetry"
    )]
    async fn telemetry(
        &self,
        caller: Caller<TelemetryWrite>,
        api: State<'_>,
        body: RawJson,
    ) -> TelemetryAnswer {
        if let Err(error) = api.store.check_room() {
            return Fault::from(error).into();
        }
        let device = caller.principal.device;
        let upload = upload(TELEMETRY, PayloadForm::Esp32, device, body);
        let verdict = api.tap.upload(upload).await;
        let now = Timestamp::from_micros(api.clock.unix_micros());
        let stored = |time: Option<Timestamp>| {
            Json(TelemetryStored {
                ok: true,
                timestamp: Time(now),
                record_id: time.unwrap_or(now).as_micros(),
            })
        };
        match verdict {
            Verdict::Stored { event_time, .. } => TelemetryAnswer::Stored(stored(event_time)),
            Verdict::Partial { .. } => TelemetryAnswer::Stored(stored(None)),
            Verdict::Held => TelemetryAnswer::Held(stored(None)),
            Verdict::Refused(rejections) => Fault::refused(&rejections).into(),
            Verdict::Unavailable => Fault::unavailable().into(),
        }
    }

    /// Upload of any device
    ///
    /// Every payload form of MQTT. Whose data it is: the key's device, else the header
    /// `X-Device-ID`, else `device_id` or `device_uuid` in the body.
    #[oai(
        path = "/api/devices/data/upload",
        method = "post",
        tag = "Tag::Data",
        operation_id = "upload_data"
    )]
    async fn data(
        &self,
        caller: Caller<TelemetryWrite>,
        api: State<'_>,
        request: &Request,
        body: RawJson,
    ) -> UploadAnswer {
        if let Err(error) = api.store.check_room() {
            return Fault::from(error).into();
        }
        let device = match caller.principal.device.map(Ok).or_else(|| named_device(request)) {
            Some(Err(fault)) => return fault.into(),
            Some(Ok(device)) => Some(device),
            None => None,
        };
        let upload = upload(UPLOAD, PayloadForm::Auto, device, body);
        let Detailed { verdict, readings, .. } = api.tap.upload_detailed(upload).await;
        let result = Json(UploadResult {
            ok: matches!(verdict, Verdict::Stored { .. }),
            status: verdict.label().to_owned(),
            accepted: verdict.accepted() as u64,
            rejected: verdict.rejections().iter().map(FieldError::from).collect(),
            readings: readings.into_iter().map(ReadingOutcome::from).collect(),
            timestamp: Time(Timestamp::from_micros(api.clock.unix_micros())),
        });
        match verdict {
            Verdict::Stored { .. } | Verdict::Partial { .. } => UploadAnswer::Stored(result),
            Verdict::Held => UploadAnswer::Held(result),
            Verdict::Refused(rejections) => Fault::refused(&rejections).into(),
            Verdict::Unavailable => Fault::unavailable().into(),
        }
    }
}

fn named_device(request: &Request) -> Option<Result<DeviceKey, Fault>> {
    let text = request.headers().get("x-device-id")?.to_str().unwrap_or_default();
    Some(DeviceKey::new(text).map_err(|error| {
        let mut fault = Fault::invalid("X-Device-ID", error.to_string());
        fault.status = StatusCode::UNPROCESSABLE_ENTITY;
        fault
    }))
}

fn upload(path: &str, form: PayloadForm, device: Option<DeviceKey>, body: RawJson) -> Upload {
    Upload {
        source: "http",
        topic: path.to_owned(),
        payload: body.0,
        device,
        form,
        received_at: None,
        is_kept_already: false,
    }
}
