//! The readings of one sensor as so many points as somebody can look at: the readings themselves where they
//! are few, else the least, greatest and mean value of pieces of time.

use std::{num::NonZeroI64, sync::Arc};

use poem_openapi::{Enum, Object, OpenApi, param::Query};

use super::{
    Api, State, Tag,
    caller::{Caller, DataRead},
    problem::{Answer, Fault},
    select::Selection,
    wire::Time,
};
use crate::{
    chart::bucket_micros,
    config::Period,
    registry::Sensor,
    store::{
        Bucket, EnvelopeBucket, EnvelopeQuery, HistoryQuery, Order, StatisticsQuery, StoredReading,
    },
    telemetry::Timestamp,
};

pub(super) struct SensorSeries;

const POINTS_USUAL: u32 = 500;
const POINTS_MIN: u32 = 2;
const POINTS_MAX: u32 = 5_000;
const DAY: i64 = 86_400 * 1_000_000;
/// The longest range of one request: 1,100 days.
const RANGE_MAX: i64 = 1_100 * DAY;

/// What a point stands for
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum Resolution {
    /// What gives at most `points` points
    Auto,
    /// A reading
    Raw,
    #[oai(rename = "1m")]
    Minute,
    #[oai(rename = "5m")]
    FiveMinutes,
    #[oai(rename = "1h")]
    Hour,
    #[oai(rename = "1d")]
    Day,
}

/// Readings of one sensor, or pieces of time
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(skip_serializing_if_is_none)]
struct Series {
    device: String,
    sensor: String,
    sensor_id: i64,
    unit: Option<String>,
    from: Time,
    to: Time,
    /// `raw`, or how long a piece of time is, such as `5m`
    resolution: String,
    /// The same; only where it is not `raw`
    bucket_seconds: Option<f64>,
    /// In the order of time; pieces without readings are left out
    points: Vec<SeriesPoint>,
}

/// A reading, whose value all three values are; or a piece of time
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(skip_serializing_if_is_none)]
struct SeriesPoint {
    /// Of the reading, or where the piece of time begins
    time: Time,
    /// Readings, those without a value included
    count: u64,
    /// Left out where no reading has a value; here and below
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
    /// The worst: `good`, `uncertain` or `bad`
    quality: String,
}

#[OpenApi]
impl SensorSeries {
    /// A sensor's readings for a chart
    ///
    /// At most `points` points: the readings themselves where they are no more, else the count and the
    /// least, greatest and mean value of pieces of time. Where raw readings are dropped already, pieces are
    /// as fine as what is kept of them. The answer says what its resolution is.
    #[oai(
        path = "/api/data/series",
        method = "get",
        tag = "Tag::Data",
        operation_id = "data_series"
    )]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn series(
        &self,
        _caller: Caller<DataRead>,
        api: State<'_>,
        /// The sensor's number; or `device_id` and `sensor`
        sensor_id: Query<Option<i64>>,
        /// The sensor's device
        device_id: Query<Option<String>>,
        /// The sensor's name
        sensor: Query<Option<String>>,
        /// From this event time on; a day before `to` if left out
        from: Query<Option<Time>>,
        /// Before this event time; the present if left out
        to: Query<Option<Time>>,
        /// `auto` if left out
        resolution: Query<Option<Resolution>>,
        /// Points at most, 2 to 5000; 500 if left out
        points: Query<Option<u32>>,
    ) -> Answer<Series> {
        let of = Selection::of(device_id.0, sensor_id.0.map(|id| vec![id]), sensor.0);
        let resolution = resolution.0.unwrap_or(Resolution::Auto);
        series(&api, &of, (from.0, to.0), resolution, points.0).await.into()
    }
}

type Range = (Timestamp, Timestamp);

async fn series(
    api: &Api,
    of: &Selection,
    range: (Option<Time>, Option<Time>),
    resolution: Resolution,
    points: Option<u32>,
) -> Result<Series, Fault> {
    let points = points.unwrap_or(POINTS_USUAL);
    if !(POINTS_MIN..=POINTS_MAX).contains(&points) {
        return Err(Fault::invalid("points", "points is 2 to 5000"));
    }
    let (from, to) = read_range(api.now(), range)?;
    let sensor = only(api, of)?;
    let raw = match resolution {
        Resolution::Auto => few(api, &sensor, (from, to), points).await?,
        Resolution::Raw => Some(all(api, &sensor, (from, to), points).await?),
        _ => None,
    };
    let bucket = match resolution {
        _ if raw.is_some() => None,
        Resolution::Minute => Some(Bucket::Minute.micros()),
        Resolution::FiveMinutes => Some(Bucket::FiveMinutes.micros()),
        Resolution::Hour => Some(Bucket::Hour.micros()),
        Resolution::Day => Some(Bucket::Day.micros()),
        // The first piece and the last may be cut.
        Resolution::Auto | Resolution::Raw => {
            Some(bucket_micros(to.micros_since(from), points - 1))
        }
    };
    let points = match (raw, bucket) {
        (Some(readings), _) => readings.iter().map(SeriesPoint::from).collect(),
        (None, Some(bucket)) => pieces(api, &sensor, (from, to), bucket, points).await?,
        (None, None) => Vec::new(),
    };
    let unit = sensor.with_settings(|settings| settings.unit.as_deref().map(ToOwned::to_owned));
    Ok(Series {
        device: sensor.device.to_string(),
        sensor: sensor.name.to_string(),
        sensor_id: sensor.id.0,
        unit,
        from: Time(from),
        to: Time(to),
        resolution: bucket.map_or_else(|| "raw".to_owned(), shown),
        bucket_seconds: bucket.map(|micros| micros as f64 / 1e6),
        points,
    })
}

fn read_range(now: Timestamp, (from, to): (Option<Time>, Option<Time>)) -> Result<Range, Fault> {
    let to = to.map_or(now.plus_micros(1), |time| time.0);
    let from = from.map_or(to.plus_micros(-DAY), |time| time.0);
    let length = to.micros_since(from);
    if length <= 0 {
        return Err(Fault::invalid("from", "from is before to"));
    }
    if length > RANGE_MAX {
        return Err(Fault::invalid("from", "a range is at most 1100 days"));
    }
    Ok((from, to))
}

fn only(api: &Api, of: &Selection) -> Result<Arc<Sensor>, Fault> {
    let is_named = !of.devices.is_empty() && !of.names.is_empty();
    if of.sensor_ids.is_empty() && !is_named {
        return Err(Fault::invalid(
            "sensor_id",
            "say of which sensor: sensor_id, or device_id and sensor",
        ));
    }
    let found = of.sensors(api, 1)?;
    found.into_iter().next().ok_or_else(|| Fault::not_found("sensor"))
}

/// A length such as `5m`.
fn shown(micros: i64) -> String {
    let micros = u64::try_from(micros).unwrap_or(0);
    Period(std::time::Duration::from_micros(micros)).to_string()
}

/// The readings, where they are at most `points` and none of the range are dropped.
async fn few(
    api: &Api,
    sensor: &Sensor,
    (from, to): Range,
    points: u32,
) -> Result<Option<Vec<StoredReading>>, Fault> {
    let query =
        StatisticsQuery { sensor: sensor.id, from, to, bucket: None, percentiles: Vec::new() };
    let counted = api.store.statistics(query).await?.whole.count;
    if counted > u64::from(points) {
        return Ok(None);
    }
    let readings = read(api, sensor, (from, to), points).await?;
    Ok((readings.len() as u64 == counted).then_some(readings))
}

async fn all(
    api: &Api,
    sensor: &Sensor,
    range: Range,
    points: u32,
) -> Result<Vec<StoredReading>, Fault> {
    let readings = read(api, sensor, range, points + 1).await?;
    if readings.len() > points as usize {
        let detail = format!(
            "the range has more than {points} readings: ask for resolution=auto, or for pages of \
             /api/data/history"
        );
        return Err(Fault::invalid("resolution", detail));
    }
    Ok(readings)
}

async fn read(
    api: &Api,
    sensor: &Sensor,
    (from, to): Range,
    limit: u32,
) -> Result<Vec<StoredReading>, Fault> {
    let query = HistoryQuery {
        sensors: vec![sensor.id],
        from: Some(from),
        to: Some(to),
        order: Order::Ascending,
        limit: limit as usize,
        after: None,
        offset: 0,
    };
    Ok(api.store.history(&query).await?.readings)
}

async fn pieces(
    api: &Api,
    sensor: &Sensor,
    (from, to): Range,
    bucket: i64,
    points: u32,
) -> Result<Vec<SeriesPoint>, Fault> {
    let pieces = to.micros_since(from) / bucket;
    if pieces > i64::from(POINTS_MAX) {
        let detail = format!(
            "the answer would have more than {POINTS_MAX} points: ask for a coarser resolution, or \
             for auto, which has at most {points}"
        );
        return Err(Fault::invalid("resolution", detail));
    }
    let bucket = NonZeroI64::new(bucket).unwrap_or(NonZeroI64::MIN);
    let query = EnvelopeQuery { sensor: sensor.id, from, to, bucket };
    Ok(api.store.envelope(query).await?.iter().map(SeriesPoint::from).collect())
}

impl From<&StoredReading> for SeriesPoint {
    fn from(reading: &StoredReading) -> Self {
        Self {
            time: Time(reading.event_time),
            count: 1,
            min: reading.value,
            max: reading.value,
            mean: reading.value,
            quality: reading.quality.as_str().to_owned(),
        }
    }
}

impl From<&EnvelopeBucket> for SeriesPoint {
    fn from(bucket: &EnvelopeBucket) -> Self {
        Self {
            time: Time(bucket.start),
            count: bucket.count,
            min: bucket.values.map(|values| values.min),
            max: bucket.values.map(|values| values.max),
            mean: bucket.values.map(|values| values.mean),
            quality: bucket.quality.as_str().to_owned(),
        }
    }
}
