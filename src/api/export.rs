//! Readings as a file: CSV or NDJSON, streamed page by page, so that a year of a sensor takes no more
//! memory than a page of it, and a slow client holds no connection to the store.

use std::{fmt::Write, io, sync::Arc};

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use futures_util::stream;
use poem::{Body, IntoResponse, Request, Response, http::header};
use poem_openapi::{
    ApiResponse, Enum, OpenApi,
    param::Query,
    registry::{MetaMediaType, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
};

use super::{
    Api, State, Tag,
    caller::{Caller, DataRead},
    export_places::{Place, Places},
    page::Page,
    problem::{Answer, Fault},
    select::{Selection, read_labels},
    wire::{Reading, Time},
};
use crate::{
    jobs::csv_field,
    registry::Sensor,
    store::{HistoryPage, HistoryQuery, Order, StoreError, StoredReading},
    telemetry::{SensorId, Timestamp},
};

#[derive(Default)]
pub(super) struct Export {
    places: Places,
}

/// Readings of a page of the file.
const PAGE: usize = 5_000;
/// Sensors of one file.
const SENSORS_MAX: usize = 1_000;
const HEAD: &str = "device,sensor,sensor_id,event_time,received_at,value,unit,quality\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum FileFormat {
    /// Comma-separated values with a head (RFC 4180)
    Csv,
    /// One JSON object a line
    Ndjson,
}

impl FileFormat {
    fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// A file on its way, or why there is none.
enum Exported {
    File(Response),
    None(Fault),
}

type Failure = Answer<Page<Reading>>;

impl ApiResponse for Exported {
    fn meta() -> MetaResponses {
        let mut meta = Failure::meta();
        for response in meta.responses.iter_mut().filter(|r| r.status == Some(200)) {
            response.description = "The readings, oldest first";
            let schema = || MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
            response.content = ["text/csv", "application/x-ndjson"]
                .map(|content_type| MetaMediaType { content_type, schema: schema() })
                .into();
        }
        meta
    }

    fn register(registry: &mut Registry) {
        Failure::register(registry);
    }
}

impl IntoResponse for Exported {
    fn into_response(self) -> Response {
        match self {
            Self::File(response) => response,
            Self::None(fault) => Failure::from(fault).into_response(),
        }
    }
}

#[OpenApi]
impl Export {
    /// Readings of a range as a file
    ///
    /// Oldest first, of up to 1,000 sensors; streamed, however many they are. A file that could not
    /// be finished ends without its last chunk. 16 run at a time, 4 of them of one address; one more
    /// is answered 429.
    #[oai(
        path = "/api/data/export",
        method = "get",
        tag = "Tag::Data",
        operation_id = "export_data"
    )]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn export(
        &self,
        _caller: Caller<DataRead>,
        api: State<'_>,
        request: &Request,
        /// `csv` if left out
        format: Query<Option<FileFormat>>,
        /// Of this device only; repeated: of any of them
        device_id: Query<Option<Vec<String>>>,
        /// Of the sensor of this number only; repeated: of any of them
        sensor_id: Query<Option<Vec<i64>>>,
        /// Of sensors of this name only; repeated: of any of them
        sensor: Query<Option<Vec<String>>>,
        /// Of sensors of this type only; repeated: of any of them
        #[oai(name = "type")]
        kind: Query<Option<Vec<String>>>,
        /// Of the devices of this gateway only
        gateway: Query<Option<String>>,
        /// Of devices with this label: `name` or `name:value`; repeated: with all of them
        label: Query<Option<Vec<String>>>,
        /// From this event time on
        from: Query<Option<Time>>,
        /// Before this event time; the present if left out
        to: Query<Option<Time>>,
    ) -> Exported {
        let selection = Selection {
            devices: device_id.0.unwrap_or_default(),
            sensor_ids: sensor_id.0.unwrap_or_default(),
            names: sensor.0.unwrap_or_default(),
            kinds: kind.0.unwrap_or_default(),
            gateway: gateway.0,
            labels: read_labels(label.0.unwrap_or_default()),
            with_retired: false,
        };
        let format = format.0.unwrap_or(FileFormat::Csv);
        let place = match self.places.take(request) {
            Ok(place) => place,
            Err(fault) => return Exported::None(fault),
        };
        match export(&api, format, &selection, (from.0, to.0), place).await {
            Ok(file) => Exported::File(file),
            Err(fault) => Exported::None(fault),
        }
    }
}

/// What is left of a file.
struct Rest {
    api: Arc<Api>,
    sensors: HashMap<SensorId, Frame>,
    query: HistoryQuery,
    format: FileFormat,
    /// Read, not sent.
    page: Option<HistoryPage>,
    /// The head is to be sent.
    is_begin: bool,
    _place: Place,
}

async fn export(
    api: &Arc<Api>,
    format: FileFormat,
    selection: &Selection,
    (from, to): (Option<Time>, Option<Time>),
    place: Place,
) -> Result<Response, Fault> {
    let sensors = selection.sensors(api, SENSORS_MAX)?;
    let now = Timestamp::from_micros(api.clock.unix_micros()).plus_micros(1);
    let query = HistoryQuery {
        sensors: sensors.iter().map(|sensor| sensor.id).collect(),
        from: from.map(|time| time.0),
        to: Some(to.map_or(now, |time| time.0)),
        order: Order::Ascending,
        limit: PAGE,
        after: None,
        offset: 0,
    };
    // The first page before the head, so that a store that does not answer is told as 503.
    let page = Some(api.store.history(&query).await?);
    let mut frames = HashMap::with_capacity(sensors.len());
    for sensor in sensors {
        frames.insert(sensor.id, Frame::new(&sensor, format));
    }
    let (api, sensors, is_begin) = (api.clone(), frames, true);
    let rest = Rest { api, sensors, query, format, page, is_begin, _place: place };
    let chunks = stream::try_unfold(rest, |rest| async move {
        rest.next().await.inspect_err(|error| tracing::warn!(%error, "an export was cut short"))
    });
    let name = if format == FileFormat::Csv { "readings.csv" } else { "readings.ndjson" };
    let disposition = format!("attachment; filename=\"{name}\"");
    Ok(Response::builder()
        .content_type(format.content_type())
        .header(header::CONTENT_DISPOSITION, disposition)
        .body(Body::from_bytes_stream(chunks)))
}

impl Rest {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let page = match self.page.take() {
            Some(page) => page,
            None if self.query.after.is_none() => return Ok(None),
            None => self.api.store.history(&self.query).await.map_err(io_error)?,
        };
        let mut text = String::with_capacity(page.readings.len() * 128);
        if std::mem::take(&mut self.is_begin) && self.format == FileFormat::Csv {
            text.push_str(HEAD);
        }
        for reading in &page.readings {
            if let Some(frame) = self.sensors.get(&reading.sensor) {
                frame.write(&mut text, reading, self.format);
            }
        }
        let last = page.readings.last().filter(|_| page.has_more);
        self.query.after = last.map(|last| (last.event_time, last.sensor));
        Ok(Some((Bytes::from(text), self)))
    }
}

fn io_error(error: StoreError) -> io::Error {
    io::Error::other(error)
}

/// What is the same in each line of a sensor.
struct Frame {
    /// Up to the event time.
    begin: String,
    unit: String,
}

impl Frame {
    fn new(sensor: &Sensor, format: FileFormat) -> Self {
        let unit = sensor.with_settings(|settings| settings.unit.clone());
        let unit = unit.as_deref();
        let (device, name, id) = (sensor.device.as_str(), sensor.name.as_str(), sensor.id.0);
        match format {
            FileFormat::Csv => Self {
                begin: format!("{},{},{id}", csv_field(device), csv_field(name)),
                unit: unit.map_or(String::new(), |unit| csv_field(unit).into_owned()),
            },
            FileFormat::Ndjson => {
                let text = |text: &str| serde_json::Value::from(text).to_string();
                let (device, name) = (text(device), text(name));
                Self {
                    begin: format!(r#"{{"device":{device},"sensor":{name},"sensor_id":{id}"#),
                    unit: unit.map_or(String::new(), |unit| format!(r#""unit":{},"#, text(unit))),
                }
            }
        }
    }

    /// Writing to a text does not fail.
    fn write(&self, text: &mut String, reading: &StoredReading, format: FileFormat) {
        let Self { begin, unit } = self;
        let StoredReading { event_time, received_at, value, quality, .. } = reading;
        let _ = match (format, value) {
            (FileFormat::Csv, Some(value)) => {
                writeln!(text, "{begin},{event_time},{received_at},{value},{unit},{quality}")
            }
            (FileFormat::Csv, None) => {
                writeln!(text, "{begin},{event_time},{received_at},,{unit},{quality}")
            }
            (FileFormat::Ndjson, value) => {
                let value = value.map_or(serde_json::Value::Null, serde_json::Value::from);
                writeln!(
                    text,
                    r#"{begin},"event_time":"{event_time}","received_at":"{received_at}","value":{value},{unit}"quality":"{quality}"}}"#
                )
            }
        };
    }
}
