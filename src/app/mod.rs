//! The wiring, read in one place: `build` makes every room, `start` sets them going, `stop` ends
//! them in order.
//!
//! The order of the stop: nothing new is accepted; connections acknowledge what they have received
//! and say goodbye; the committer stores what is queued; requests are answered; the store closes.

mod alarm_upkeep;
mod alarms;
mod allotment;
pub mod logging;
mod maintenance;
mod retention;
mod rollups;
mod sockets;
mod tasks;
mod wiring;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

pub(crate) use self::wiring::store_location;
use self::{
    alarm_upkeep::AlarmUpkeep, allotment::Allotment, maintenance::Maintenance,
    retention::Retention, rollups::RollUps, sockets::Sockets, tasks::Tasks, wiring::Doors,
};
use crate::{
    access::{Access, AccessError, ConsoleFile, FirstStart},
    alarm::notify::{Notifier, Retry, Worker},
    api::{self, Api, Streams},
    clock::Clock,
    config::Settings,
    ingest::{self, Committer, Parts},
    jobs::{self, BackupSettings, Jobs, Lane},
    metrics::Exporter,
    mqtt::{Broker, Listener, Publisher, Transport},
    registry::Registry,
    store::{Store, StoreError},
    telemetry::Timestamp,
    tls::{self, TlsServer},
};

/// From the order to stop to the exit.
pub const STOP_TIME: Duration = Duration::from_secs(9);
/// What connections get of it to acknowledge and say goodbye.
const GOODBYE_TIME: Duration = Duration::from_secs(5);

/// Between two looks at whether a backup is due.
const BACKUP_LOOK: Duration = Duration::from_secs(60);

/// Why Brooklet does not start; each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("{0}")]
    Settings(String),
    #[error("can't listen on {address} ({room}): {reason}")]
    Listen { room: &'static str, address: SocketAddr, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("the process can't be set up")]
    System(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Everything made, nothing running but the committer.
pub struct App {
    store: Store,
    committer: Arc<Committer>,
    broker: Arc<Broker>,
    access: Arc<Access>,
    console_key: String,
    maintenance: Maintenance,
    notifications: Worker<Store>,
    api: Api,
    mqtt: Vec<Listener>,
    certificates: Vec<Arc<TlsServer>>,
    http: Vec<api::Socket>,
    settings: Settings,
}

/// Everything running.
pub struct Running {
    tasks: Tasks,
    listeners: Tasks,
    store: Store,
    committer: Arc<Committer>,
    broker: Arc<Broker>,
    access: Arc<Access>,
    console: Option<ConsoleFile>,
    certificates: Vec<Arc<TlsServer>>,
    addresses: Addresses,
}

/// Where the process can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    pub mqtt: Vec<(Transport, SocketAddr)>,
    pub http: Vec<SocketAddr>,
    /// With TLS.
    pub https: Vec<SocketAddr>,
}

impl App {
    /// Binds every address, opens the store, loads what it holds. What the configuration has wrong is
    /// found before the store is made.
    ///
    /// # Errors
    /// What is in the way, in a sentence.
    pub async fn build(settings: Settings, clock: Clock) -> Result<Self, AppError> {
        let location = wiring::store_location(&settings).map_err(AppError::Settings)?;
        let routes = wiring::routes(&settings.ingest.routes)
            .map_err(|error| AppError::Settings(format!("ingest.routes: {error}")))?;
        let zone = jiff::tz::TimeZone::get(&settings.time.zone)
            .map_err(|error| AppError::Settings(error.to_string()))?;
        let exporter = Exporter::install().map_err(|error| AppError::System(error.into()))?;
        let provisions = alarms::Provisions::read(&settings)?;
        let sockets = Sockets::bind(&settings).await?;

        let store = Store::at(&location).await?;
        store.limit_room(wiring::room_limits(&settings.database));
        let registry = Arc::new(Registry::new(wiring::registry_settings(&settings.devices)));
        registry.load(store.devices().await?, store.sensors().await?);
        jobs::mark_removals(&store, &registry).await?;
        let doors = Doors::build(&settings, &store, &registry, &routes, &clock).await?;

        let publisher = Publisher::new(wiring::mqtt_limits(&settings.mqtt), clock.clone());
        let now = Timestamp::from_micros(clock.unix_micros());
        let writer = store.writer(settings.database.busy_timeout.0)?;
        let alarms = alarms::prepare(&provisions, &store, &registry, writer, now).await?;
        // The start has judged what became due meanwhile: that is told to those who come back.
        let told = store.last_alarm_event().await?;
        let live = wiring::live_hub(&settings.streams, &registry, &clock, told);
        let (tap, committer) = ingest::start(Parts {
            routes,
            zone,
            limits: wiring::ingest_limits(&settings),
            registry: registry.clone(),
            publisher: publisher.clone(),
            live: live.clone(),
            show_alarm: api::alarm_change,
            writer: alarms.writer,
            clock: clock.clone(),
            noted_clients: store.clients_with_deliveries().await?,
            engine: alarms.engine,
            run: alarms.run,
        })
        .map_err(|error| AppError::System(error.into()))?;
        let broker = doors.broker(&publisher, &tap, &committer, &clock);
        broker.restore(store.broker_state().await?);
        broker.sweep().await;
        let maintenance = Maintenance {
            access: doors.access,
            gatekeeper: doors.gatekeeper,
            audit_entries_max: i64::from(settings.audit.max_entries),
            live,
            registry,
            broker,
            publisher,
            committer,
            tap,
            store,
            exporter,
            clock,
        };
        Self::reachable(settings, sockets, doors.console_key, maintenance, alarms.notifier).await
    }

    /// Makes what is reached at the addresses.
    async fn reachable(
        settings: Settings,
        mut sockets: Sockets,
        console_key: String,
        rooms: Maintenance,
        notifier: Notifier,
    ) -> Result<Self, AppError> {
        let mqtt = sockets.listeners(&rooms.broker);
        let jobs = jobs(&settings, &rooms).await?;
        let (store, clock) = (rooms.store.clone(), rooms.clock.clone());
        let channels = alarms::channels(&settings, &rooms.publisher, &clock);
        let outbox = Arc::new(store.clone());
        let pace = (Retry::default(), wiring::keeping(&settings.notifications));
        let notifications =
            Worker::new(outbox, channels.clone(), notifier.clone(), pace, clock.clone());
        let api = Api {
            store: store.clone(),
            registry: rooms.registry.clone(),
            tap: rooms.tap.clone(),
            committer: rooms.committer.clone(),
            jobs,
            broker: rooms.broker.clone(),
            streams: Arc::new(Streams::new(rooms.live.clone(), &settings, clock.clone())),
            notifier,
            channels,
            access: rooms.access.clone(),
            exporter: rooms.exporter.clone(),
            clock,
            http: settings.http.clone(),
            configuration: (&settings).into(),
            logs_requests: settings.log.http_access,
        };
        Ok(Self {
            store,
            committer: rooms.committer.clone(),
            broker: rooms.broker.clone(),
            access: rooms.access.clone(),
            console_key,
            maintenance: rooms,
            notifications,
            api,
            mqtt,
            certificates: sockets.certificates,
            http: sockets.http,
            settings,
        })
    }

    /// Where the data is, without a password.
    pub fn database(&self) -> String {
        self.store.shown()
    }

    pub fn device_count(&self) -> usize {
        self.api.registry.count().total
    }

    /// Makes the first user and key, where nobody is there who could make them.
    ///
    /// # Errors
    /// When the store or the data directory can't be written.
    pub async fn first_start(&self) -> Result<Option<FirstStart>, AppError> {
        Ok(self.access.first_start().await?)
    }

    /// Sets everything going.
    ///
    /// # Errors
    /// When a bound socket has no address, which it always has.
    pub fn start(self) -> io::Result<Running> {
        let mut addresses = Addresses::default();
        let (mut listeners, mut tasks) = (Tasks::default(), Tasks::default());
        for listener in self.mqtt {
            addresses.mqtt.push((listener.transport(), listener.address()?));
            listeners.spawn("mqtt listener", listener.run(listeners.stop_token(), GOODBYE_TIME));
        }
        let (https, http) = self.http.iter().partition::<Vec<_>, _>(|socket| socket.is_encrypted());
        addresses.http = http.into_iter().map(api::Socket::address).collect();
        addresses.https = https.into_iter().map(api::Socket::address).collect();
        let console = open_console(&self.access, &addresses.http, &self.console_key);
        let removals = ("removals", Lane::Removals);
        for (name, lane) in [removals, ("imports", Lane::Imports), ("backups", Lane::Backups)] {
            tasks.spawn(name, self.api.jobs.clone().run(lane, tasks.stop_token()));
        }
        schedule_backups(&mut tasks, &self.api.jobs, self.settings.backup.interval.0);
        let stop = tasks.stop_token();
        let upkeep = AlarmUpkeep {
            store: self.store.clone(),
            notifier: self.api.notifier.clone(),
            clock: self.api.clock.clone(),
            retention: self.settings.alarms.retention.0,
        };
        upkeep.start(&mut tasks);
        let retention = Retention {
            store: self.store.clone(),
            registry: self.api.registry.clone(),
            clock: self.api.clock.clone(),
            settings: Arc::new(self.settings.retention.clone()),
        };
        retention.start(&mut tasks);
        let rollups = RollUps {
            store: self.store.clone(),
            registry: self.api.registry.clone(),
            clock: self.api.clock.clone(),
        };
        rollups.start(&mut tasks);
        let allotment = Allotment {
            store: self.store.clone(),
            registry: self.api.registry.clone(),
            clock: self.api.clock.clone(),
            keeps_minutes: self.settings.retention.minutes,
            interval: self.settings.retention.interval.0,
        };
        allotment.start(&mut tasks);
        tasks.spawn("http server", api::serve(self.api, self.http, stop));
        tasks.spawn("notifications", self.notifications.run(tasks.stop_token()));
        let (log, mqtt) = (&self.settings.log, &self.settings.mqtt);
        self.maintenance.start(&mut tasks, log.summary_interval.0, mqtt.sys_interval.0);
        Ok(Running {
            tasks,
            listeners,
            store: self.store,
            committer: self.committer,
            broker: self.broker,
            access: self.access,
            console,
            certificates: self.certificates,
            addresses,
        })
    }
}

impl Running {
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Reads the certificates of all listeners again; connections stay. Files that can't be used
    /// change nothing and are told in the log.
    pub async fn reload(&self) {
        let certificates = self.certificates.clone();
        let listeners = certificates.len();
        match tokio::task::spawn_blocking(move || tls::reload(&certificates)).await {
            Ok(Ok(())) => tracing::info!(listeners, "certificates read again"),
            Ok(Err(error)) => tracing::error!(%error, "the certificates stay as they were"),
            Err(error) => tracing::error!(%error, "the certificates stay as they were"),
        }
    }

    /// Ends everything in order, within [`STOP_TIME`].
    pub async fn stop(mut self) {
        let deadline = Instant::now() + STOP_TIME;
        self.broker.begin_stop();
        self.listeners.stop(Instant::now() + GOODBYE_TIME + Duration::from_secs(1)).await;
        self.committer.close();
        let committer = self.committer.clone();
        let mut drained = tokio::task::spawn_blocking(move || committer.join());
        let store_time = deadline - Duration::from_secs(2);
        if tokio::time::timeout_at(store_time, &mut drained).await.is_err() {
            self.committer.give_up();
            let _ = tokio::time::timeout_at(deadline, drained).await;
        }
        self.tasks.stop(deadline).await;
        drop(self.console.take());
        match tokio::time::timeout_at(deadline, self.access.save_uses()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "when keys were used last is not saved"),
            Err(_) => tracing::warn!("when keys were used last is not saved"),
        }
        let closed = tokio::time::timeout_at(deadline, self.store.close());
        if closed.await.is_err() {
            tracing::warn!("the store did not close in time");
        }
    }
}

/// Lets the command line on this machine speak to this process; it can do without.
fn open_console(access: &Access, http: &[SocketAddr], key: &str) -> Option<ConsoleFile> {
    let mut address = *http.first()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    match access.open_console(&address.to_string(), key) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!(%error, "\"brooklet user\" and the like will not find this process");
            None
        }
    }
}

/// It is looked every minute, so that a stop in between does not put a backup off.
fn schedule_backups(tasks: &mut Tasks, jobs: &Arc<Jobs>, interval: Duration) {
    if interval.is_zero() {
        return;
    }
    let jobs = jobs.clone();
    tasks.every("backup schedule", interval.min(BACKUP_LOOK), move || {
        let jobs = jobs.clone();
        async move { jobs.back_up_when_due(interval).await }
    });
}

/// What jobs need, with what the last stop has left of them taken up.
async fn jobs(settings: &Settings, rooms: &Maintenance) -> Result<Arc<Jobs>, StoreError> {
    let parts = jobs::Parts {
        store: rooms.store.clone(),
        registry: rooms.registry.clone(),
        tap: rooms.tap.clone(),
        committer: rooms.committer.clone(),
        access: rooms.access.clone(),
        clock: rooms.clock.clone(),
        folder: settings.data_dir.join("imports"),
        backups: BackupSettings {
            folder: settings.data_dir.join(&settings.backup.folder),
            data_dir: settings.data_dir.clone(),
            keep: settings.backup.keep as usize,
        },
    };
    let jobs = Jobs::new(parts);
    jobs.restore().await?;
    Ok(Arc::new(jobs))
}
