//! The list of devices as pages show it: found by words, in an order of choice, counted, with what
//! each last said and the alarms that it has.

use std::{
    cmp::{Ordering, Reverse},
    collections::HashMap,
    sync::Arc,
};

use poem_openapi::{Enum, Object};

use super::{DeviceFilter, DeviceView};
use crate::{
    api::{
        Api,
        alarm_rule_form::Severity,
        page::{self, Page},
        problem::Fault,
        wire::Reading,
    },
    registry::Device,
    store::DeviceAlarms,
    telemetry::Approval,
};

/// Newest readings of a device in the list.
const LATEST_MAX: usize = 8;

/// Whether a device is there, or may be
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum DeviceState {
    Online,
    Offline,
    Pending,
    Blocked,
}

/// What else is told of each device
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum DeviceInclude {
    /// Its newest readings and its active alarms
    Latest,
}

/// A device in a list
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ListedDevice {
    #[oai(flatten)]
    device: DeviceView,
    /// The newest reading of each of its sensors, by name, at most 8; only with `include=latest`
    latest: Option<Vec<Reading>>,
    /// Its active alarms; only with `include=latest`, and where there are any
    alarm: Option<ActiveAlarms>,
}

/// Active alarms of a device and its sensors
#[derive(Debug, Clone, Object)]
struct ActiveAlarms {
    count: u64,
    severity_max: Severity,
}

/// What a page of the list is asked for by.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) status: Option<DeviceState>,
    pub(super) search: Option<String>,
    pub(super) sort: Option<String>,
    pub(super) include: Option<DeviceInclude>,
    pub(super) limit: Option<u32>,
    pub(super) cursor: Option<String>,
    pub(super) numbered: (Option<u32>, Option<u32>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SortKey {
    Id,
    Name,
    LastSeen,
    FirstSeen,
    Alarm,
}

/// By device.
type Alarms = HashMap<String, DeviceAlarms>;

pub(super) async fn list(
    api: &Api,
    filter: &DeviceFilter,
    listing: Listing,
) -> Result<Page<ListedDevice>, Fault> {
    let (sort, is_descending) = order(listing.sort.as_deref())?;
    let limit = page::limit(listing.limit, 100, 1_000)?;
    let numbered = page::numbered(listing.numbered.0, listing.numbered.1, 1_000)?;
    let is_by_key = sort == SortKey::Id && !is_descending;
    if listing.cursor.is_some() && (numbered.is_some() || !is_by_key) {
        return Err(Fault::invalid(
            "cursor",
            "pages of an order of choice have numbers: give page",
        ));
    }
    let needs_alarms = listing.include.is_some() || sort == SortKey::Alarm;
    let alarms = if needs_alarms { alarms(api).await? } else { Alarms::new() };
    let search = listing.search.map(|text| text.to_lowercase());
    let mut found = api.registry.all();
    found.retain(|device| {
        listing.cursor.as_ref().is_none_or(|after| device.key.as_str() > after.as_str())
            && listing.status.is_none_or(|status| status.has(device))
            && search.as_ref().is_none_or(|text| device.has_text(text))
            && filter.has(device)
    });
    sort_by(&mut found, sort, is_descending, &alarms);
    let total = found.len() as u64;
    let (offset, size) = match &numbered {
        Some(numbered) => (numbered.offset, numbered.per_page as usize),
        None => (0, limit),
    };
    let shown = found.iter().skip(offset).take(size);
    let view = |device: &Arc<Device>| listed(device, listing.include.map(|_| &alarms));
    let items: Vec<_> = shown.map(view).collect();
    let has_more = is_by_key && numbered.is_none() && found.len() > size;
    let last = size.checked_sub(1).and_then(|at| found.get(at)).filter(|_| has_more);
    let mut page = Page::new(items, last.map(|device| device.key.to_string()));
    if let Some(numbered) = numbered {
        page.page = Some(numbered.page);
        page.per_page = Some(numbered.per_page);
        page.total = Some(total);
    }
    Ok(page)
}

async fn alarms(api: &Api) -> Result<Alarms, Fault> {
    let rows = api.store.active_alarms_by_device().await?;
    Ok(rows.into_iter().map(|row| (row.device.clone(), row)).collect())
}

fn order(given: Option<&str>) -> Result<(SortKey, bool), Fault> {
    let word = given.unwrap_or("key");
    let (word, is_descending) = word.strip_prefix('-').map_or((word, false), |word| (word, true));
    let key = match word {
        "key" => SortKey::Id,
        "name" => SortKey::Name,
        "last_seen" => SortKey::LastSeen,
        "first_seen" => SortKey::FirstSeen,
        "alarm" => SortKey::Alarm,
        _ => {
            let detail = "sort is key, name, last_seen, first_seen or alarm, with - for descending";
            return Err(Fault::invalid("sort", detail));
        }
    };
    Ok((key, is_descending))
}

/// Those that are alike stay in the order of their keys; those without a name or never seen come last.
fn sort_by(found: &mut [Arc<Device>], sort: SortKey, is_descending: bool, alarms: &Alarms) {
    let turned = |order: Ordering| if is_descending { order.reverse() } else { order };
    match sort {
        SortKey::Id if is_descending => found.reverse(),
        SortKey::Id => {}
        SortKey::Name => {
            let name = |device: &Arc<Device>| device.name().map(|name| name.to_lowercase());
            sorted(found, name, |a, b| match (a, b) {
                (Some(a), Some(b)) => turned(a.cmp(b)),
                (a, b) => a.is_none().cmp(&b.is_none()),
            });
        }
        SortKey::LastSeen => sorted(
            found,
            |device| device.seen().1,
            |a, b| match (a, b) {
                (Some(a), Some(b)) => turned(a.cmp(b)),
                (a, b) => a.is_none().cmp(&b.is_none()),
            },
        ),
        SortKey::FirstSeen => sorted(found, |device| device.seen().0, |a, b| turned(a.cmp(b))),
        // The gravest first, so that `alarm` alone is of use.
        SortKey::Alarm => sorted(
            found,
            |device| alarms.get(device.key.as_str()).map(|row| (row.severity_max, row.count)),
            |a, b| turned(Reverse(a).cmp(&Reverse(b))),
        ),
    }
}

/// Reads each key once: devices change meanwhile.
fn sorted<K>(
    found: &mut [Arc<Device>],
    key: impl Fn(&Arc<Device>) -> K,
    compare: impl Fn(&K, &K) -> Ordering,
) {
    let mut keyed: Vec<_> = found.iter().map(|device| (key(device), device.clone())).collect();
    keyed.sort_by(|(a, _), (b, _)| compare(a, b));
    for (place, (_, device)) in found.iter_mut().zip(keyed) {
        *place = device;
    }
}

/// `alarms`: what else is told.
fn listed(device: &Arc<Device>, alarms: Option<&Alarms>) -> ListedDevice {
    let latest = alarms.map(|_| {
        let newest = device.sensors().into_iter().filter_map(|sensor| sensor.newest());
        newest.take(LATEST_MAX).map(Reading::from).collect()
    });
    let alarm = alarms.and_then(|alarms| alarms.get(device.key.as_str()));
    ListedDevice {
        device: device.snapshot().into(),
        latest,
        alarm: alarm.map(|row| ActiveAlarms {
            count: row.count,
            severity_max: Severity::from_code(row.severity_max),
        }),
    }
}

impl DeviceState {
    fn has(self, device: &Device) -> bool {
        let (online, approval) = match self {
            Self::Online => (Some(true), Approval::Active),
            Self::Offline => (Some(false), Approval::Active),
            Self::Pending => (None, Approval::Pending),
            Self::Blocked => (None, Approval::Blocked),
        };
        device.matches(online, None, Some(approval))
    }
}
