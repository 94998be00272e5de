//! What needs somebody: chosen and put in order from facts. Pure.

use super::{
    Attention, AttentionKind, BySeverity, DeviceCounts, Reference, Urgency, earlier, shortage,
};
use crate::{
    api::{alarm_rule_form::Severity, wire::Time},
    store::DiskSpace,
    telemetry::Timestamp,
};

#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) devices: DeviceCounts,
    /// The last that was met; named where it is the only one.
    offline: Option<String>,
    /// Since when the one that is away the longest was not seen.
    offline_since: Option<Timestamp>,
    pending: Option<String>,
    pending_since: Option<Timestamp>,
    /// Active, neither acknowledged nor shelved.
    pub(super) unacknowledged: BySeverity,
    /// When the earliest of each severity, by its number, was raised.
    pub(super) alarms_since: Vec<(u8, Timestamp)>,
    pub(super) failed_notices: u64,
    pub(super) quarantined: u64,
    pub(super) disk: Option<DiskSpace>,
    /// Nothing is taken until more of the disk is free.
    pub(super) lacks_room: bool,
    /// Bytes that the store has, and may have.
    pub(super) store: Option<(u64, u64)>,
    pub(super) has_data: bool,
}

impl Facts {
    pub(super) fn new(has_data: bool) -> Self {
        Self { has_data, ..Self::default() }
    }

    pub(super) fn note_offline(&mut self, device: &str, last_seen: Option<Timestamp>) {
        self.offline = Some(device.to_owned());
        self.offline_since = earlier(self.offline_since, last_seen);
    }

    pub(super) fn note_pending(&mut self, device: &str, first_seen: Timestamp) {
        self.pending = Some(device.to_owned());
        self.pending_since = earlier(self.pending_since, Some(first_seen));
    }
}

/// The most pressing first; what is equally pressing in the order of its kinds.
pub(super) fn attention(facts: &Facts) -> Vec<Attention> {
    let mut found = of_alarms(facts);
    let devices = &facts.devices;
    let only = |count: u64, device: &Option<String>| device.clone().filter(|_| count == 1);
    let of_devices = |kind, count, since: Option<Timestamp>, device| Attention {
        kind,
        severity: Urgency::Warning,
        count,
        since: since.map(Time),
        reference: Reference { device: only(count, device), severity: None },
    };
    let plain = |kind, severity, count| Attention {
        kind,
        severity,
        count,
        since: None,
        reference: Reference::default(),
    };
    if devices.pending > 0 {
        let (kind, since) = (AttentionKind::PendingDevices, facts.pending_since);
        found.push(of_devices(kind, devices.pending, since, &facts.pending));
    }
    if devices.offline > 0 {
        let (kind, since) = (AttentionKind::OfflineDevices, facts.offline_since);
        found.push(of_devices(kind, devices.offline, since, &facts.offline));
    }
    if facts.failed_notices > 0 {
        let count = facts.failed_notices;
        found.push(plain(AttentionKind::NotificationFailed, Urgency::Warning, count));
    }
    if facts.quarantined > 0 {
        found.push(plain(AttentionKind::Quarantine, Urgency::Info, facts.quarantined));
    }
    let urgency = if facts.lacks_room { Some(Urgency::Critical) } else { shortage(facts.disk) };
    if let Some(urgency) = urgency {
        found.push(plain(AttentionKind::DiskLow, urgency, 1));
    }
    if facts.store.is_some_and(|(used, max)| used > max / 10 * 9) {
        found.push(plain(AttentionKind::StoreFull, Urgency::Warning, 1));
    }
    if !facts.has_data {
        found.push(plain(AttentionKind::NoDataYet, Urgency::Info, 0));
    }
    found.sort_by_key(|attention| (attention.severity, attention.kind));
    found
}

/// One entry a severity, the highest first.
fn of_alarms(facts: &Facts) -> Vec<Attention> {
    let counts = &facts.unacknowledged;
    let kinds = [
        (Severity::Critical, counts.critical, Urgency::Critical),
        (Severity::Major, counts.major, Urgency::Critical),
        (Severity::Minor, counts.minor, Urgency::Warning),
        (Severity::Warning, counts.warning, Urgency::Warning),
        (Severity::Info, counts.info, Urgency::Info),
    ];
    let since = |severity: Severity| {
        let of = facts.alarms_since.iter().find(|(code, _)| *code == severity.code());
        of.map(|(_, at)| Time(*at))
    };
    let attention = |(severity, count, urgency): (Severity, u64, Urgency)| Attention {
        kind: AttentionKind::Alarm,
        severity: urgency,
        count,
        since: since(severity),
        reference: Reference { severity: Some(severity), device: None },
    };
    kinds.into_iter().filter(|(_, count, _)| *count > 0).map(attention).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(facts: &Facts) -> Vec<(AttentionKind, Urgency, u64)> {
        let found = attention(facts);
        found.iter().map(|found| (found.kind, found.severity, found.count)).collect()
    }

    #[test]
    fn a_new_server_asks_for_its_first_message() {
        let expected = [(AttentionKind::NoDataYet, Urgency::Info, 0)];
        assert_eq!(kinds(&Facts::default()), expected);
        assert_eq!(kinds(&Facts { has_data: true, ..Facts::default() }), []);
    }

    #[test]
    fn the_most_pressing_comes_first() {
        let mut facts = Facts { has_data: true, quarantined: 3, ..Facts::default() };
        facts.unacknowledged = BySeverity { major: 2, warning: 1, ..BySeverity::default() };
        facts.failed_notices = 1;
        facts.disk = Some(DiskSpace { free: 1 << 20, total: 1 << 40 });
        facts.devices.offline = 1;
        facts.note_offline("esp", Some(Timestamp::UNIX_EPOCH));
        let expected = [
            (AttentionKind::Alarm, Urgency::Critical, 2),
            (AttentionKind::DiskLow, Urgency::Critical, 1),
            (AttentionKind::Alarm, Urgency::Warning, 1),
            (AttentionKind::NotificationFailed, Urgency::Warning, 1),
            (AttentionKind::OfflineDevices, Urgency::Warning, 1),
            (AttentionKind::Quarantine, Urgency::Info, 3),
        ];
        assert_eq!(kinds(&facts), expected);
        let found = attention(&facts);
        assert_eq!(found[4].reference.device.as_deref(), Some("esp"));
        assert_eq!(found[4].since, Some(Time(Timestamp::UNIX_EPOCH)));
        facts.note_offline("other", None);
        facts.devices.offline = 2;
        assert_eq!(attention(&facts)[4].reference, Reference::default());
    }

    #[test]
    fn a_store_that_nearly_has_what_it_may_have_is_told() {
        let mut facts = Facts { has_data: true, store: Some((90, 100)), ..Facts::default() };
        assert_eq!(kinds(&facts), []);
        facts.store = Some((91, 100));
        assert_eq!(kinds(&facts), [(AttentionKind::StoreFull, Urgency::Warning, 1)]);
        facts = Facts { has_data: true, lacks_room: true, ..Facts::default() };
        assert_eq!(kinds(&facts), [(AttentionKind::DiskLow, Urgency::Critical, 1)]);
    }

    #[test]
    fn a_disk_is_nearly_full_by_what_is_left_of_it() {
        const GIB: u64 = 1 << 30;
        for (free, total, expected) in [
            (500 * GIB, 1_000 * GIB, None),
            (90 * GIB, 1_000 * GIB, None),
            (19 * GIB, 200 * GIB, Some(Urgency::Warning)),
            (3 * GIB, 200 * GIB, Some(Urgency::Critical)),
            (2 * GIB, 8 * GIB, None),
            (GIB / 3, 2 * GIB, Some(Urgency::Warning)),
        ] {
            assert_eq!(shortage(Some(DiskSpace { free, total })), expected, "{free} {total}");
        }
        assert_eq!(shortage(None), None);
    }
}
