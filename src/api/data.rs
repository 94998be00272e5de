//! Readings: the latest, their history, their statistics.

use poem_openapi::{Enum, Object, OpenApi, param::Query};

use super::{
    Api, State, Tag,
    caller::{Caller, DataRead, DataWrite},
    jobs::JobView,
    page::{self, Page},
    problem::{Answer, Fault, Ordered},
    select::{Selection, read_labels},
    wire::{Reading, Time},
};
use crate::{
    store::{Bucket, HistoryQuery, Order, StatisticsQuery, ValueStatistics},
    telemetry::{SensorId, Timestamp},
};

pub(super) struct Data;

/// Sensors that one history request merges.
const HISTORY_SENSORS_MAX: usize = 1_000;
/// Sensors of one statistics request.
const STATISTICS_SENSORS_MAX: usize = 100;
/// Percentiles of one request.
const PERCENTILES_MAX: usize = 10;
/// Buckets in one answer, over all its sensors.
const BUCKETS_MAX: i64 = 10_000;
/// The longest range of one statistics request: 400 days.
const RANGE_MAX: i64 = 400 * 86_400 * 1_000_000;
const DAY: i64 = 86_400 * 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum SortOrder {
    /// Oldest first
    Asc,
    /// Newest first
    Desc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
enum BucketSize {
    #[oai(rename = "1m")]
    Minute,
    #[oai(rename = "5m")]
    FiveMinutes,
    #[oai(rename = "1h")]
    Hour,
    #[oai(rename = "1d")]
    Day,
}

/// Count, range, mean and spread of values
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(skip_serializing_if_is_none)]
struct Statistics {
    /// Readings, those without a value included
    count: u64,
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
    /// Standard deviation of the population
    stddev: Option<f64>,
    /// Those of `percentiles`, in that order; none without values. Each is within 1 % of the exact one
    /// (nearest rank). By minutes there are none where raw readings have gone
    percentiles: Option<Vec<Percentile>>,
}

/// A value that a part of all values does not pass
#[derive(Debug, Clone, PartialEq, Object)]
struct Percentile {
    /// How many of a hundred, 0 to 100
    percent: f64,
    value: f64,
}

/// A value and when it was taken
#[derive(Debug, Clone, PartialEq, Object)]
struct TimedValue {
    event_time: Time,
    value: f64,
}

/// Statistics of one bucket
#[derive(Debug, Clone, PartialEq, Object)]
struct BucketStatistics {
    /// Where the bucket begins; in UTC
    start: Time,
    #[oai(flatten)]
    statistics: Statistics,
}

/// Statistics of one sensor
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(skip_serializing_if_is_none)]
struct SensorStatistics {
    device: String,
    sensor: String,
    sensor_id: i64,
    unit: Option<String>,
    from: Time,
    to: Time,
    #[oai(flatten)]
    statistics: Statistics,
    first: Option<TimedValue>,
    last: Option<TimedValue>,
    /// Buckets that have readings, in order; only where `bucket` is given
    series: Option<Vec<BucketStatistics>>,
}

#[OpenApi]
impl Data {
    /// Newest reading of each sensor
    ///
    /// Newest by event time; the sensors that reported last come first.
    #[oai(
        path = "/api/data/latest",
        method = "get",
        tag = "Tag::Data",
        operation_id = "latest_data"
    )]
    async fn latest(
        &self,
        _caller: Caller<DataRead>,
        api: State<'_>,
        /// Of this device only
        device_id: Query<Option<String>>,
        /// Of the sensor of this number only; repeated: of any of them
        sensor_id: Query<Option<Vec<i64>>>,
        /// Of sensors of this name only
        sensor: Query<Option<String>>,
        /// Readings at most, 1 to 10000; 100 if left out
        limit: Query<Option<u32>>,
    ) -> Answer<Page<Reading>> {
        latest(&api, &Selection::of(device_id.0, sensor_id.0, sensor.0), limit.0).into()
    }

    /// Readings of many sensors
    ///
    /// As the history, with filters over devices and sensors.
    #[oai(path = "/api/data", method = "get", tag = "Tag::Data", operation_id = "list_data")]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn list(
        &self,
        _caller: Caller<DataRead>,
        api: State<'_>,
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
        /// Before this event time
        to: Query<Option<Time>>,
        /// `desc` (newest first) if left out
        order: Query<Option<SortOrder>>,
        /// Readings in a page, 1 to 10000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<Reading>> {
        let of = Selection {
            devices: device_id.0.unwrap_or_default(),
            sensor_ids: sensor_id.0.unwrap_or_default(),
            names: sensor.0.unwrap_or_default(),
            kinds: kind.0.unwrap_or_default(),
            gateway: gateway.0,
            labels: read_labels(label.0.unwrap_or_default()),
            with_retired: false,
        };
        let (limit, cursor, numbered) = (limit.0, cursor.0, (None, None));
        let range = (from.0, to.0);
        let asked = Asked { of, range, order: order.0, limit, cursor, numbered };
        history(&api, asked).await.into()
    }

    /// Delete readings
    ///
    /// Of a device or of sensors, which stay and go on; a job does it. Readings that come in
    /// meanwhile may go with them, unless `to` is given.
    #[oai(path = "/api/data", method = "delete", tag = "Tag::Data", operation_id = "delete_data")]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn delete(
        &self,
        _caller: Caller<DataWrite>,
        api: State<'_>,
        /// Of this device
        device_id: Query<Option<String>>,
        /// Of the sensor of this number; repeated: of each of them
        sensor_id: Query<Option<Vec<i64>>>,
        /// Of the device's sensor of this name only
        sensor: Query<Option<String>>,
        /// From this event time on
        from: Query<Option<Time>>,
        /// Before this event time
        to: Query<Option<Time>>,
    ) -> Ordered<JobView> {
        let of = Selection::of(device_id.0, sensor_id.0, sensor.0);
        delete(&api, &of, (from.0, to.0)).await.into()
    }

    /// Readings of a range
    ///
    /// Of one or many sensors, merged by event time. Pages by `limit` and `cursor`, or by `page` and
    /// `per_page`.
    #[oai(
        path = "/api/data/history",
        method = "get",
        tag = "Tag::Data",
        operation_id = "data_history"
    )]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn history(
        &self,
        _caller: Caller<DataRead>,
        api: State<'_>,
        /// Of this device only; without it at most 1,000 sensors may match
        device_id: Query<Option<String>>,
        /// Of the sensor of this number only; repeated: of any of them
        sensor_id: Query<Option<Vec<i64>>>,
        /// Of sensors of this name only
        sensor: Query<Option<String>>,
        /// From this event time on
        from: Query<Option<Time>>,
        /// Before this event time
        to: Query<Option<Time>>,
        /// `desc` (newest first) if left out
        order: Query<Option<SortOrder>>,
        /// Readings in a page, 1 to 10000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
        /// A page by number, from 1
        page: Query<Option<u32>>,
        /// Its size, 1 to 1000; 20 if left out
        per_page: Query<Option<u32>>,
    ) -> Answer<Page<Reading>> {
        let asked = Asked {
            of: Selection::of(device_id.0, sensor_id.0, sensor.0),
            range: (from.0, to.0),
            order: order.0,
            limit: limit.0,
            cursor: cursor.0,
            numbered: (page.0, per_page.0),
        };
        history(&api, asked).await.into()
    }

    /// Statistics of a range
    ///
    /// Per sensor: count, min, max, mean, standard deviation, first and last; with `bucket` as a
    /// series, too; with `percentiles` these of both, good to 1 % of the value.
    #[oai(
        path = "/api/data/statistics",
        method = "get",
        tag = "Tag::Data",
        operation_id = "data_statistics"
    )]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn statistics(
        &self,
        _caller: Caller<DataRead>,
        api: State<'_>,
        /// Of this device only; at most 100 sensors may match
        device_id: Query<Option<String>>,
        /// Of the sensor of this number only; repeated: of any of them
        sensor_id: Query<Option<Vec<i64>>>,
        /// Of sensors of this name only
        sensor: Query<Option<String>>,
        /// From this event time on; a day before `to` if left out
        from: Query<Option<Time>>,
        /// Before this event time; the present if left out
        to: Query<Option<Time>>,
        /// Length of the buckets of a series
        bucket: Query<Option<BucketSize>>,
        /// Percentiles wanted, such as `50,95,99`: 1 to 10 numbers from 0 to 100
        percentiles: Query<Option<String>>,
    ) -> Answer<Page<SensorStatistics>> {
        let of = Selection::of(device_id.0, sensor_id.0, sensor.0);
        let wanted = (bucket.0, percentiles.0.as_deref());
        statistics(&api, &of, (from.0, to.0), wanted).await.into()
    }
}

fn latest(api: &Api, of: &Selection, limit: Option<u32>) -> Result<Page<Reading>, Fault> {
    let limit = page::limit(limit, 100, 10_000)?;
    let sensors = of.sensors(api, usize::MAX)?;
    let mut newest: Vec<_> = sensors.iter().filter_map(|sensor| sensor.newest()).collect();
    newest.sort_by_key(|reading| std::cmp::Reverse((reading.event_time, reading.sensor_id)));
    newest.truncate(limit);
    Ok(Page::new(newest.into_iter().map(Reading::from).collect(), None))
}

/// A history request.
struct Asked {
    of: Selection,
    range: (Option<Time>, Option<Time>),
    order: Option<SortOrder>,
    limit: Option<u32>,
    cursor: Option<String>,
    numbered: (Option<u32>, Option<u32>),
}

async fn history(api: &Api, asked: Asked) -> Result<Page<Reading>, Fault> {
    let limit = page::limit(asked.limit, 100, 10_000)?;
    let numbered = page::numbered(asked.numbered.0, asked.numbered.1, 1_000)?;
    if numbered.is_some() && asked.cursor.is_some() {
        return Err(Fault::invalid("cursor", "give cursor or page, not both"));
    }
    let sensors = asked.of.sensors(api, HISTORY_SENSORS_MAX)?;
    let query = HistoryQuery {
        sensors: sensors.iter().map(|sensor| sensor.id).collect(),
        from: asked.range.0.map(|time| time.0),
        to: asked.range.1.map(|time| time.0),
        order: match asked.order {
            Some(SortOrder::Asc) => Order::Ascending,
            Some(SortOrder::Desc) | None => Order::Descending,
        },
        limit: numbered.as_ref().map_or(limit, |numbered| numbered.per_page as usize),
        after: asked.cursor.as_deref().map(read_cursor).transpose()?,
        offset: numbered.as_ref().map_or(0, |numbered| numbered.offset),
    };
    let found = api.store.history(&query).await?;
    let next = found.readings.last().filter(|_| found.has_more && numbered.is_none());
    let next = next.map(|last| format!("{}.{}", last.event_time.as_micros(), last.sensor.0));
    let readings = found.readings.iter().filter_map(|stored| {
        let sensor = api.registry.sensor(stored.sensor)?;
        Some(Reading::from(sensor.reading(*stored)))
    });
    let mut page = Page::new(readings.collect(), next);
    if let Some(numbered) = numbered {
        page.page = Some(numbered.page);
        page.per_page = Some(numbered.per_page);
        page.total = Some(api.store.count_history(&query).await?);
    }
    Ok(page)
}

async fn delete(
    api: &Api,
    of: &Selection,
    (from, to): (Option<Time>, Option<Time>),
) -> Result<(JobView, String), Fault> {
    if of.devices.is_empty() && of.sensor_ids.is_empty() {
        return Err(Fault::invalid("device_id", "say whose readings: device_id or sensor_id"));
    }
    let range = (from.map_or(Timestamp::MIN, |t| t.0), to.map_or(Timestamp::MAX, |t| t.0));
    if range.0 >= range.1 {
        return Err(Fault::invalid("from", "from is before to"));
    }
    let sensors = of.sensors(api, HISTORY_SENSORS_MAX)?;
    let subject = match (sensors.as_slice(), of.devices.first()) {
        ([sensor], _) => format!("{}/{}", sensor.device, sensor.name),
        (_, Some(device)) => device.clone(),
        (sensors, None) => format!("{} sensors", sensors.len()),
    };
    let job = JobView::from(api.jobs.delete_data(subject, &sensors, range).await?);
    let location = job.location();
    Ok((job, location))
}

fn read_cursor(text: &str) -> Result<(Timestamp, SensorId), Fault> {
    let parts = text.split_once('.').and_then(|(micros, sensor)| {
        Some((micros.parse::<i64>().ok()?, sensor.parse::<i64>().ok()?))
    });
    match parts {
        Some((micros, sensor)) => Ok((Timestamp::from_micros(micros), SensorId(sensor))),
        None => Err(Fault::invalid("cursor", "the cursor is not one of next_cursor")),
    }
}

async fn statistics(
    api: &Api,
    of: &Selection,
    (from, to): (Option<Time>, Option<Time>),
    (bucket, percentiles): (Option<BucketSize>, Option<&str>),
) -> Result<Page<SensorStatistics>, Fault> {
    let percentiles = percentiles.map_or(Ok(Vec::new()), read_percentiles)?;
    let now = Timestamp::from_micros(api.clock.unix_micros()).plus_micros(1);
    let to = to.map_or(now, |time| time.0);
    let from = from.map_or(to.plus_micros(-DAY), |time| time.0);
    let length = to.micros_since(from);
    if length <= 0 {
        return Err(Fault::invalid("from", "from is before to"));
    }
    if length > RANGE_MAX {
        return Err(Fault::invalid("from", "a range is at most 400 days"));
    }
    let sensors = of.sensors(api, STATISTICS_SENSORS_MAX)?;
    let bucket = bucket.map(|size| match size {
        BucketSize::Minute => Bucket::Minute,
        BucketSize::FiveMinutes => Bucket::FiveMinutes,
        BucketSize::Hour => Bucket::Hour,
        BucketSize::Day => Bucket::Day,
    });
    let buckets = bucket.map_or(0, |bucket| length / bucket.micros() + 1);
    if buckets.saturating_mul(sensors.len() as i64) > BUCKETS_MAX {
        let detail = format!("the answer would have more than {BUCKETS_MAX} buckets");
        return Err(Fault::invalid("bucket", detail));
    }
    let mut items = Vec::with_capacity(sensors.len());
    for sensor in sensors {
        let query = StatisticsQuery {
            sensor: sensor.id,
            from,
            to,
            bucket,
            percentiles: percentiles.clone(),
        };
        let found = api.store.statistics(query).await?;
        let timed = |(time, value)| TimedValue { event_time: Time(time), value };
        let series = found.series.iter().map(|(start, statistics)| BucketStatistics {
            start: Time(*start),
            statistics: Statistics::of(statistics, &percentiles),
        });
        items.push(SensorStatistics {
            device: sensor.device.to_string(),
            sensor: sensor.name.to_string(),
            sensor_id: sensor.id.0,
            unit: sensor.settings().unit.map(|unit| unit.to_string()),
            from: Time(from),
            to: Time(to),
            statistics: Statistics::of(&found.whole, &percentiles),
            first: found.first.map(timed),
            last: found.last.map(timed),
            series: bucket.map(|_| series.collect()),
        });
    }
    Ok(Page::new(items, None))
}

fn read_percentiles(text: &str) -> Result<Vec<f64>, Fault> {
    let invalid = |detail: String| Fault::invalid("percentiles", detail);
    let read = |part: &str| {
        let number =
            part.trim().parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent));
        number.ok_or_else(|| invalid(format!("\"{part}\" is no number from 0 to 100")))
    };
    let percentiles: Vec<f64> = text.split(',').map(read).collect::<Result<_, _>>()?;
    if percentiles.len() > PERCENTILES_MAX {
        return Err(invalid(format!("at most {PERCENTILES_MAX} percentiles can be asked for")));
    }
    Ok(percentiles)
}

impl Statistics {
    fn of(found: &ValueStatistics, percentiles: &[f64]) -> Self {
        let ValueStatistics { count, min, max, mean, stddev, .. } = *found;
        let values = percentiles.iter().zip(&found.percentiles);
        let values: Vec<Percentile> = values
            .map(|(percent, value)| Percentile { percent: *percent, value: *value })
            .collect();
        let percentiles = Some(values).filter(|values| !values.is_empty());
        Self { count, min, max, mean, stddev, percentiles }
    }
}
