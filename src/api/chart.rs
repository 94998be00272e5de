//! Readings as a chart: an SVG that browsers show as it is, drawn by `chart` from what the store holds.

mod marks;

use std::{num::NonZeroI64, sync::Arc};

use jiff::tz::TimeZone;
use poem::{IntoResponse, Response, http::StatusCode, http::header};
use poem_openapi::{
    ApiResponse, Enum, OpenApi,
    param::{Header, Query},
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
};

use super::{
    Api, State, Tag,
    caller::{Caller, DataRead},
    etag,
    page::Page,
    problem::{Answer, Fault},
    select::Selection,
    wire::{Reading, Time},
};
use crate::{
    access::Scope,
    chart::{self, Axis, Chart, Locale, Point, Series, Theme, Values, bucket_micros},
    config::Period,
    registry::Sensor,
    store::EnvelopeQuery,
    telemetry::Timestamp,
};

pub(super) struct Charts;

/// The longest range of one chart: 400 days.
const RANGE_MAX: i64 = 400 * DAY;
const DAY: i64 = 86_400_000_000;
const USUAL_WIDTH: u32 = 900;
const USUAL_HEIGHT: u32 = 320;
/// Pixels that a piece of time gets at least.
const PIECE: u32 = 2;

/// The page that a chart is for
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum ChartTheme {
    Light,
    Dark,
}

/// The language of dates and words
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
enum ChartLocale {
    #[oai(rename = "en")]
    English,
    #[oai(rename = "zh-CN")]
    Chinese,
}

/// A chart, or why there is none.
enum Drawn {
    Svg(Response),
    None(Fault),
}

type Failure = Answer<Page<Reading>>;

impl ApiResponse for Drawn {
    fn meta() -> MetaResponses {
        let mut meta = Failure::meta();
        for response in meta.responses.iter_mut().filter(|r| r.status == Some(200)) {
            response.description = "The chart";
            let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
            response.content = vec![MetaMediaType { content_type: "image/svg+xml", schema }];
        }
        meta.responses.push(MetaResponse {
            description: "It is as it was",
            status: Some(304),
            status_range: None,
            content: Vec::new(),
            headers: Vec::new(),
        });
        meta
    }

    fn register(registry: &mut Registry) {
        Failure::register(registry);
    }
}

impl IntoResponse for Drawn {
    fn into_response(self) -> Response {
        match self {
            Self::Svg(response) => response,
            Self::None(fault) => Failure::from(fault).into_response(),
        }
    }
}

#[OpenApi]
impl Charts {
    /// Chart of a range
    ///
    /// Of up to eight sensors with at most two units, as SVG without a background. A line is the mean
    /// of each piece of time, around it stands the area from the least to the greatest value; it breaks
    /// where nothing came for three times the usual interval. Doubtful readings are dashed or hollow.
    /// The root element says where the plot is (`data-plot`: x, y, width, height in pixels) and which
    /// range it shows (`data-from`, `data-to`: milliseconds since 1970); `<metadata id="series">` holds
    /// the points as JSON.
    #[oai(
        path = "/api/data/chart.svg",
        method = "get",
        tag = "Tag::Data",
        operation_id = "data_chart"
    )]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn chart(
        &self,
        caller: Caller<DataRead>,
        api: State<'_>,
        /// Numbers of sensors with commas between, in the order of their colours
        sensors: Query<Option<String>>,
        /// Of this device only
        device_id: Query<Option<String>>,
        /// Of sensors of this name only; repeated: of any of them
        sensor: Query<Option<Vec<String>>>,
        /// From this event time on
        from: Query<Option<Time>>,
        /// Before this event time; the present if left out
        to: Query<Option<Time>>,
        /// Instead of `from`: so long before `to`, such as `90m` or `7d`; `24h` if left out
        last: Query<Option<String>>,
        /// In pixels, 200 to 4000; 900 if left out
        width: Query<Option<u32>>,
        /// In pixels, 120 to 2000; 320 if left out
        height: Query<Option<u32>>,
        /// `light` if left out
        theme: Query<Option<ChartTheme>>,
        /// `false`: without the limits of alarm rules. They need the scope alarms:read
        bands: Query<Option<bool>>,
        /// `false`: without alarms that were raised and cleared. They need the scope alarms:read
        markers: Query<Option<bool>>,
        /// `en` if left out
        locale: Query<Option<ChartLocale>>,
        /// Whose clocks the times are of, such as `Asia/Shanghai`; `UTC` if left out
        time_zone: Query<Option<String>>,
        /// The ETag of the chart that is there already
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Drawn {
        let may_see_alarms = caller.principal.may(Scope::AlarmsRead);
        let asked = Asked {
            sensors: sensors.0,
            device: device_id.0,
            names: sensor.0.unwrap_or_default(),
            range: (from.0, to.0, last.0),
            size: (width.0.unwrap_or(USUAL_WIDTH), height.0.unwrap_or(USUAL_HEIGHT)),
            theme: theme.0,
            locale: locale.0,
            has_bands: may_see_alarms && bands.0.unwrap_or(true),
            has_markers: may_see_alarms && markers.0.unwrap_or(true),
            zone: time_zone.0,
        };
        match draw(&api, asked).await {
            Ok(svg) => Drawn::Svg(answer(svg, if_none_match.0.as_deref())),
            Err(fault) => Drawn::None(fault),
        }
    }
}

struct Asked {
    sensors: Option<String>,
    device: Option<String>,
    names: Vec<String>,
    range: (Option<Time>, Option<Time>, Option<String>),
    size: (u32, u32),
    theme: Option<ChartTheme>,
    locale: Option<ChartLocale>,
    has_bands: bool,
    has_markers: bool,
    zone: Option<String>,
}

fn answer(svg: String, if_none_match: Option<&str>) -> Response {
    let tag = etag::of_content(svg.as_bytes());
    let is_known = if_none_match.is_some_and(|given| etag::names(given, &tag));
    let response = Response::builder()
        .header(header::ETAG, tag)
        .header(header::CACHE_CONTROL, "private, no-cache");
    match is_known {
        true => response.status(StatusCode::NOT_MODIFIED).finish(),
        false => response.content_type("image/svg+xml").body(svg),
    }
}

async fn draw(api: &Api, asked: Asked) -> Result<String, Fault> {
    let ids = asked.sensors.as_deref().map(read_ids).transpose()?.unwrap_or_default();
    if ids.is_empty() && asked.device.is_none() && asked.names.is_empty() {
        return Err(Fault::invalid(
            "sensors",
            "say of which sensors: sensors, device_id or sensor",
        ));
    }
    let (from, to) = range(api.now(), asked.range)?;
    let (width, height) = asked.size;
    within("width", width, &chart::WIDTH)?;
    within("height", height, &chart::HEIGHT)?;
    let zone = match asked.zone {
        Some(name) => TimeZone::get(&name)
            .map_err(|_| Fault::invalid("time_zone", "no time zone of that name is known"))?,
        None => TimeZone::UTC,
    };
    let of = Selection {
        devices: asked.device.into_iter().collect(),
        sensor_ids: ids.clone(),
        names: asked.names,
        ..Selection::default()
    };
    let mut sensors = of.sensors(api, chart::SERIES_MAX)?;
    sensors.sort_by_key(|sensor| ids.iter().position(|id| *id == sensor.id.0));
    let axes = axes(&sensors)?;
    let bucket = bucket_micros(to.micros_since(from), width / PIECE);
    let mut series = Vec::with_capacity(sensors.len());
    for (sensor, axis) in sensors.iter().zip(&axes) {
        series.push(read(api, sensor, *axis, (from, to), bucket).await?);
    }
    let limits = match asked.has_bands {
        true => marks::limits(api, &sensors, &axes).await?,
        false => Vec::new(),
    };
    let markers = match asked.has_markers {
        true => marks::markers(api, &sensors, (from, to)).await?,
        false => Vec::new(),
    };
    let chart = Chart {
        from,
        to,
        bucket_micros: bucket,
        width,
        height,
        theme: asked.theme.map_or(Theme::Light, Theme::from),
        locale: asked.locale.map_or(Locale::English, Locale::from),
        zone,
        series,
        limits,
        markers,
    };
    let drawn = tokio::task::spawn_blocking(move || chart.svg()).await;
    let drawn = drawn.map_err(|error| error.to_string());
    drawn.and_then(|svg| svg.map_err(|error| error.to_string())).map_err(|error| {
        tracing::error!(%error, "a chart can't be drawn");
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "")
    })
}

fn read_ids(text: &str) -> Result<Vec<i64>, Fault> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let ids: Result<Vec<i64>, _> = parts.map(str::parse).collect();
    ids.map_err(|_| Fault::invalid("sensors", "numbers of sensors with commas between"))
}

fn range(
    now: Timestamp,
    (from, to, last): (Option<Time>, Option<Time>, Option<String>),
) -> Result<(Timestamp, Timestamp), Fault> {
    let to = to.map_or(now.plus_micros(1), |time| time.0);
    let from = match (from, last) {
        (Some(_), Some(_)) => return Err(Fault::invalid("last", "give from or last, not both")),
        (Some(from), None) => from.0,
        (None, Some(text)) => {
            let period: Result<Period, _> = serde_json::from_value(text.into());
            let period = period.map_err(|error| Fault::invalid("last", error.to_string()))?;
            to.plus_micros(-i64::try_from(period.0.as_micros()).unwrap_or(i64::MAX))
        }
        (None, None) => to.plus_micros(-DAY),
    };
    let length = to.micros_since(from);
    if length <= 0 {
        return Err(Fault::invalid("from", "from is before to"));
    }
    if length > RANGE_MAX {
        return Err(Fault::invalid("from", "a range is at most 400 days"));
    }
    Ok((from, to))
}

fn within(name: &str, given: u32, range: &std::ops::RangeInclusive<u32>) -> Result<(), Fault> {
    if range.contains(&given) {
        return Ok(());
    }
    Err(Fault::invalid(name, format!("{name} is {} to {}", range.start(), range.end())))
}

/// The axis of each sensor: the first unit stands on the left, another on the right.
fn axes(sensors: &[Arc<Sensor>]) -> Result<Vec<Axis>, Fault> {
    let unit = |sensor: &Arc<Sensor>| sensor.with_settings(|settings| settings.unit.clone());
    let mut units = Vec::new();
    let mut axes = Vec::with_capacity(sensors.len());
    for unit in sensors.iter().map(unit) {
        let at = units.iter().position(|known| *known == unit).unwrap_or(units.len());
        if at == units.len() {
            units.push(unit);
        }
        axes.push(match at {
            0 => Axis::Left,
            1 => Axis::Right,
            _ => {
                let detail = "a chart has two axes: the sensors have more than two units";
                return Err(Fault::invalid("sensors", detail));
            }
        });
    }
    Ok(axes)
}

async fn read(
    api: &Api,
    sensor: &Sensor,
    axis: Axis,
    (from, to): (Timestamp, Timestamp),
    bucket: i64,
) -> Result<Series, Fault> {
    let bucket = NonZeroI64::new(bucket).unwrap_or(NonZeroI64::MIN);
    let query = EnvelopeQuery { sensor: sensor.id, from, to, bucket };
    let buckets = api.store.envelope(query).await?;
    let point = |bucket: &crate::store::EnvelopeBucket| Point {
        first: bucket.first_at,
        last: bucket.last_at,
        count: bucket.count,
        values: bucket.values.map(|v| Values { min: v.min, mean: v.mean, max: v.max }),
        quality: bucket.quality,
    };
    let settings = sensor.settings();
    Ok(Series {
        sensor: sensor.id,
        device: sensor.device.to_string(),
        name: settings.display_name.unwrap_or_else(|| sensor.name.to_string()),
        unit: settings.unit.map(|unit| unit.to_string()),
        axis,
        points: buckets.iter().map(point).collect(),
    })
}

impl From<ChartTheme> for Theme {
    fn from(theme: ChartTheme) -> Self {
        match theme {
            ChartTheme::Light => Self::Light,
            ChartTheme::Dark => Self::Dark,
        }
    }
}

impl From<ChartLocale> for Locale {
    fn from(locale: ChartLocale) -> Self {
        match locale {
            ChartLocale::English => Self::English,
            ChartLocale::Chinese => Self::Chinese,
        }
    }
}
