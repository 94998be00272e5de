//! Alarms at the start: what the configuration says of rules and targets is put into the store, and
//! what the store says is made ready to be judged and told.

use std::sync::Arc;

use serde::Deserialize;

use super::AppError;
use crate::{
    alarm::{
        engine::{Engine, Start},
        notify::{Channels, InvalidTarget, Look, Notifier, Routing, Target},
        rule::AlarmRule,
    },
    clock::Clock,
    config::Settings,
    mqtt::Publisher,
    registry::Registry,
    store::{AlarmRuleEdit, NotificationTargetEdit, Provisioned, Store, Writer},
    telemetry::Timestamp,
};

/// Alarms whose end is longer ago begin anew: nothing is held back on their account.
const MEMORY: i64 = 400 * 86_400 * 1_000_000;

/// What judging and telling are begun with.
pub(super) struct Alarms {
    pub(super) engine: Engine,
    pub(super) notifier: Notifier,
    /// The number of this run of the broker.
    pub(super) run: i64,
    pub(super) writer: Writer,
}

/// What the configuration has of rules and targets.
pub(super) struct Provisions {
    rules: Vec<AlarmRuleEdit>,
    targets: Vec<NotificationTargetEdit>,
}

impl Provisions {
    /// # Errors
    /// A rule or target that can't be used.
    pub(super) fn read(settings: &Settings) -> Result<Self, AppError> {
        Ok(Self { rules: rules(settings)?, targets: targets(settings)? })
    }
}

/// Brings everything about alarms from the configuration and the store into memory.
///
/// # Errors
/// What the store says.
pub(super) async fn prepare(
    provisions: &Provisions,
    store: &Store,
    registry: &Arc<Registry>,
    mut writer: Writer,
    now: Timestamp,
) -> Result<Alarms, AppError> {
    tell("alarm rule", &store.provision_alarm_rules(&provisions.rules, now).await?);
    let targets = store.provision_notification_targets(&provisions.targets, now).await?;
    tell("notification target", &targets);
    let notifier = Notifier::new(Routing::default());
    notifier.reload(store, now).await?;
    let since = now.plus_micros(-MEMORY);
    let start = Start {
        rules: store.alarm_rules().await?,
        alarms: store.newest_alarms(since).await?,
        last_alarm_id: store.max_alarm_id().await?,
        runs: store.runs(since, Timestamp::MAX).await?,
        registry: registry.clone(),
        notifier: notifier.clone(),
        now,
    };
    let started = tokio::task::spawn_blocking(move || {
        Engine::start(start, &mut writer).map(|engine| (engine, writer))
    });
    let (engine, writer) = started.await.map_err(|error| AppError::System(error.into()))??;
    // A run before this point would say that what became due meanwhile was judged.
    let run = store.begin_run(now).await?;
    Ok(Alarms { engine, notifier, run, writer })
}

/// What notifications go out by.
pub(super) fn channels(settings: &Settings, publisher: &Publisher, clock: &Clock) -> Arc<Channels> {
    let url = settings.notifications.public_url.trim_end_matches('/');
    let look = Look {
        zone: jiff::tz::TimeZone::get(&settings.time.zone).unwrap_or(jiff::tz::TimeZone::UTC),
        public_url: (!url.is_empty()).then(|| url.to_owned()),
    };
    Arc::new(Channels::new(publisher.clone(), look, clock.clone()))
}

fn rules(settings: &Settings) -> Result<Vec<AlarmRuleEdit>, AppError> {
    let rules = settings.alarms.rules.iter().enumerate().map(|(place, value)| {
        let rule = AlarmRule::from_value(value.clone())
            .map_err(|error| AppError::Settings(format!("alarms.rules[{place}]: {error}")))?;
        let body = rule.to_json();
        Ok(AlarmRuleEdit { name: rule.name, enabled: rule.enabled, body })
    });
    rules.collect()
}

fn targets(settings: &Settings) -> Result<Vec<NotificationTargetEdit>, AppError> {
    let targets = settings.notifications.targets.iter().enumerate().map(|(place, value)| {
        let wrong = |error: &dyn std::fmt::Display| {
            AppError::Settings(format!("notifications.targets[{place}]: {error}"))
        };
        let target = Target::deserialize(value).map_err(|error| wrong(&error))?;
        target.check().map_err(|error: InvalidTarget| wrong(&error))?;
        let (channel, body) = (target.kind().label().to_owned(), target.to_stored());
        Ok(NotificationTargetEdit { name: target.name, channel, enabled: target.enabled, body })
    });
    targets.collect()
}

fn tell(what: &'static str, provisioned: &Provisioned) {
    for name in &provisioned.clashes {
        tracing::warn!(
            name,
            "the configuration's {what} is left out: there is one of that name that people made"
        );
    }
    for (_, name) in &provisioned.removed {
        tracing::info!(name, "{what} removed: the configuration has it no more");
    }
}
