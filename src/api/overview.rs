//! The overview: how everything is, and what needs somebody's attention, the most pressing first.
//! Figures and words only; pages put them into sentences.

mod attention;

use poem_openapi::{Enum, Object, OpenApi};

use self::attention::{Facts, attention};
use super::{
    Api, State, Tag,
    alarm_rule_form::Severity,
    caller::{Caller, DataRead},
    problem::{Fault, Shown},
    wire::Time,
};
use crate::{
    alarm::rule,
    ingest::PULSE_STEP_SECONDS,
    store::{AlarmCount, DiskSpace, NotificationState},
    telemetry::{Approval, Timestamp},
};

pub(super) struct Overviews;

/// How everything is
#[derive(Debug, Clone, Object)]
struct Overview {
    time: Time,
    devices: DeviceCounts,
    alarms: AlarmCounts,
    messages: Messages,
    store: StoreSize,
    quarantine: QuarantineSize,
    outbox: Outbox,
    uptime_seconds: u64,
    version: String,
    /// What naive times of devices are in: `time.zone`
    time_zone: String,
    /// What needs somebody, the most pressing first
    attention: Vec<Attention>,
}

/// Devices by state, those out of the lists left out
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Object)]
struct DeviceCounts {
    total: u64,
    /// Of the active ones
    online: u64,
    /// Of the active ones
    offline: u64,
    pending: u64,
    blocked: u64,
}

/// Open alarms
#[derive(Debug, Clone, Object)]
struct AlarmCounts {
    /// Those whose condition holds
    active: u64,
    /// Those that wait for an acknowledgement, and were not put aside
    unacknowledged: u64,
    shelved: u64,
    /// Active ones
    by_severity: BySeverity,
}

/// Active alarms by severity
#[derive(Debug, Clone, Copy, Default, Object)]
struct BySeverity {
    critical: u64,
    major: u64,
    minor: u64,
    warning: u64,
    info: u64,
}

/// Messages on ingest topics and uploads
#[derive(Debug, Clone, Object)]
struct Messages {
    per_second: f64,
    /// Share of the last hour's messages that was accepted, 0 to 1; 1 where there were none
    success_rate: f64,
    series: MessageSeries,
}

/// The last hour in equal steps, oldest first
#[derive(Debug, Clone, Object)]
struct MessageSeries {
    step_seconds: i64,
    accepted: Vec<u64>,
    refused: Vec<u64>,
}

/// What the database takes, and what is left
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct StoreSize {
    /// With its write-ahead log
    bytes: u64,
    disk_free_bytes: Option<u64>,
    disk_total_bytes: Option<u64>,
}

/// Refused messages that are kept
#[derive(Debug, Clone, Object)]
struct QuarantineSize {
    entries: u64,
}

/// Notices of alarms
#[derive(Debug, Clone, Copy, Object)]
struct Outbox {
    /// To be sent
    waiting: u64,
    /// Given up
    failed: u64,
}

/// What it is about
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Enum)]
#[oai(rename_all = "snake_case")]
enum AttentionKind {
    /// Active alarms that nobody has acknowledged, of one severity
    Alarm,
    /// The disk is nearly full
    DiskLow,
    /// The database has nine tenths of what it may have (`database.max_size`)
    StoreFull,
    /// Notices that were given up
    NotificationFailed,
    /// Devices that wait for approval
    PendingDevices,
    OfflineDevices,
    /// Refused messages that are kept
    Quarantine,
    /// Nothing was ever stored
    NoDataYet,
}

/// How pressing it is
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Enum)]
#[oai(rename_all = "lowercase")]
enum Urgency {
    Critical,
    Warning,
    Info,
}

/// Something that needs somebody
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(skip_serializing_if_is_none)]
struct Attention {
    kind: AttentionKind,
    severity: Urgency,
    count: u64,
    since: Option<Time>,
    reference: Reference,
}

/// Where to look; empty where the kind says it
#[derive(Debug, Clone, Default, PartialEq, Eq, Object)]
#[oai(skip_serializing_if_is_none)]
struct Reference {
    /// Of these alarms
    severity: Option<Severity>,
    /// The only one
    device: Option<String>,
}

#[OpenApi]
impl Overviews {
    /// Overview
    ///
    /// How many devices and alarms there are, whether data flows, what room is left, and what needs
    /// somebody first.
    #[oai(path = "/api/overview", method = "get", tag = "Tag::Service", operation_id = "overview")]
    async fn overview(&self, _caller: Caller<DataRead>, api: State<'_>) -> Shown<Overview> {
        overview(&api).await.into()
    }
}

async fn overview(api: &Api) -> Result<Overview, Fault> {
    let now = api.now();
    let mut facts = of_devices(api);
    let open = api.store.open_alarm_counts().await?;
    facts.alarms_since = api.store.first_unacknowledged().await?;
    facts.unacknowledged = by_severity(&open, AlarmCount::is_waiting);
    let notices = api.store.outbox_counts().await?;
    let notices_in = |wanted: NotificationState| {
        let counted = notices.iter().filter(|count| count.state == wanted);
        counted.map(|count| count.count).sum()
    };
    let outbox = Outbox {
        waiting: notices_in(NotificationState::Waiting),
        failed: notices_in(NotificationState::Dead),
    };
    let status = api.store.status().await?;
    let (entries, _) = api.store.quarantine_size().await?;
    let disk = api.store.disk();
    facts.failed_notices = outbox.failed;
    facts.quarantined = entries;
    facts.disk = disk;
    facts.lacks_room = api.store.check_room().is_err();
    facts.store = api.store.size_max().map(|max| (status.used_bytes(), max));
    let count = |is_counted: fn(&AlarmCount) -> bool| {
        open.iter().filter(|alike| is_counted(alike)).map(|alike| alike.count).sum()
    };
    let rate = api.tap.meters().rate(now);
    Ok(Overview {
        time: Time(now),
        devices: facts.devices,
        alarms: AlarmCounts {
            active: count(|alike| alike.active),
            unacknowledged: count(AlarmCount::is_waiting),
            shelved: count(|alike| alike.shelved),
            by_severity: by_severity(&open, |_| true),
        },
        messages: Messages {
            per_second: rate.per_second,
            success_rate: rate.success_rate,
            series: MessageSeries {
                step_seconds: PULSE_STEP_SECONDS,
                accepted: rate.accepted,
                refused: rate.refused,
            },
        },
        store: StoreSize {
            bytes: status.file_bytes.saturating_add(status.log_bytes),
            disk_free_bytes: disk.map(|disk| disk.free),
            disk_total_bytes: disk.map(|disk| disk.total),
        },
        quarantine: QuarantineSize { entries },
        outbox,
        uptime_seconds: api.clock.monotonic().as_secs(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time_zone: api.configuration.time_zone().to_owned(),
        attention: attention(&facts),
    })
}

/// Of those alarms that are active and meant.
fn by_severity(open: &[AlarmCount], is_meant: fn(&AlarmCount) -> bool) -> BySeverity {
    let mut counts = BySeverity::default();
    for alike in open.iter().filter(|alike| alike.active && is_meant(alike)) {
        let place = match rule::Severity::from_code(i64::from(alike.severity)).unwrap_or_default() {
            rule::Severity::Critical => &mut counts.critical,
            rule::Severity::Major => &mut counts.major,
            rule::Severity::Minor => &mut counts.minor,
            rule::Severity::Warning => &mut counts.warning,
            rule::Severity::Info => &mut counts.info,
        };
        *place += alike.count;
    }
    counts
}

/// One walk over the registry.
fn of_devices(api: &Api) -> Facts {
    let mut facts = Facts::new(api.tap.meters().totals().readings > 0);
    for device in api.registry.all().iter().filter(|device| !device.is_retired()) {
        let (first_seen, last_seen) = device.seen();
        facts.devices.total += 1;
        facts.has_data |= device.has_readings();
        match device.approval() {
            Approval::Active if device.matches(Some(true), None, None) => facts.devices.online += 1,
            Approval::Active => {
                facts.devices.offline += 1;
                facts.note_offline(device.key.as_str(), last_seen);
            }
            Approval::Pending => {
                facts.devices.pending += 1;
                facts.note_pending(device.key.as_str(), first_seen);
            }
            Approval::Blocked => facts.devices.blocked += 1,
        }
    }
    facts
}

/// The earlier of two times.
fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// Whether a disk is filling up; `None`: there is room.
fn shortage(disk: Option<DiskSpace>) -> Option<Urgency> {
    const GIB: u64 = 1 << 30;
    let DiskSpace { free, total } = disk?;
    let is_below = |percent: u64| free < total / 100 * percent;
    // Of a large disk a tenth is plenty.
    if is_below(2) || free < GIB / 8 {
        Some(Urgency::Critical)
    } else if (is_below(10) && free < 20 * GIB) || free < GIB / 2 {
        Some(Urgency::Warning)
    } else {
        None
    }
}
