//! From settings to what each room wants to be told.

use std::sync::{Arc, OnceLock, Weak};

use crate::{
    access::{Access, AccessError, AccessSettings, Gatekeeper, Openness},
    alarm::notify::Keeping,
    clock::Clock,
    config::{self, Anonymous, DatabasePlace, Migrate, Settings, Unknown},
    ingest::{Committer, IngestLimits, Tap},
    live::{Cursor, Hub},
    mqtt::{
        self, Broker, Client, Hooks, InboundRate, Publisher, ReasonCode, SessionObserver,
        SharedDispatch, topic::TopicLimits,
    },
    registry::{PresenceSettings, Registry, RegistrySettings, UnknownDevices},
    routes::{InvalidRoute, MessageKind, PayloadForm, RouteTable, RouteTemplate},
    store::{
        QuarantineLimits, RoomLimits, ServerSettings, Store, StoreLocation, StoreSettings,
        check_url,
    },
    telemetry::{Position, Timestamp},
    tls::{TlsError, TlsServer},
};

pub(super) fn mqtt_limits(settings: &config::Mqtt) -> mqtt::Limits {
    mqtt::Limits {
        connections_max: settings.max_connections,
        connect_timeout: settings.connect_timeout.0,
        packet_size_max: settings.max_packet_size.as_usize(),
        receive_maximum: settings.receive_maximum.get(),
        inflight_max: settings.max_inflight.get(),
        queued_messages_max: settings.max_queued_messages,
        queued_bytes_max: settings.max_queued_bytes.as_usize(),
        queued_bytes_total_max: settings.max_queued_bytes_total.as_usize(),
        queued_age_max: settings.max_queued_age.0,
        inbound_rate: InboundRate {
            messages_per_second: settings.max_messages_per_second,
            bytes_per_second: u32::try_from(settings.max_bytes_per_second.as_usize())
                .unwrap_or(u32::MAX),
        },
        sessions_max: settings.max_sessions,
        shared_dispatch: match settings.shared_subscriptions {
            config::Dispatch::RoundRobin => SharedDispatch::RoundRobin,
            config::Dispatch::ByTopic => SharedDispatch::ByTopic,
        },
        session_expiry_max: settings.max_session_expiry.whole_seconds(),
        keep_alive_max: u16::try_from(settings.max_keep_alive.whole_seconds()).unwrap_or(u16::MAX),
        topic_alias_max: settings.max_topic_aliases,
        subscriptions_max: settings.max_subscriptions,
        topics: TopicLimits {
            levels_max: settings.max_topic_levels,
            bytes_max: settings.max_topic_length.as_usize(),
        },
        retained_messages_max: settings.max_retained_messages,
        retained_bytes_max: settings.max_retained_bytes.as_usize(),
        stall_timeout: settings.stall_timeout.0,
    }
}

pub(super) fn registry_settings(settings: &config::Devices) -> RegistrySettings {
    RegistrySettings {
        unknown: match settings.unknown {
            Unknown::Learn => UnknownDevices::Learn,
            Unknown::Pending => UnknownDevices::Pending,
            Unknown::Reject => UnknownDevices::Reject,
        },
        learned_per_hour_max: settings.max_learned_per_hour,
        presence: PresenceSettings {
            offline_grace: settings.offline_grace.0,
            offline_after: settings.offline_after.0,
        },
    }
}

pub(super) fn ingest_limits(settings: &Settings) -> IngestLimits {
    let (ingest, devices, quarantine) = (&settings.ingest, &settings.devices, &settings.quarantine);
    IngestLimits {
        batch_messages_max: ingest.max_batch_messages,
        queue_messages_max: ingest.max_queued_messages,
        queue_bytes_max: ingest.max_queued_bytes.as_usize(),
        quarantine: QuarantineLimits {
            entries_max: i64::from(quarantine.max_entries),
            bytes_max: quarantine.max_bytes.as_i64(),
        },
        held_messages_max: i64::from(devices.max_held_messages),
        held_bytes_max: devices.max_held_bytes.as_i64(),
    }
}

pub(super) fn room_limits(settings: &config::Database) -> RoomLimits {
    RoomLimits { free_min: settings.min_free_space.0, size_max: settings.max_size.0 }
}

pub(super) fn keeping(settings: &config::Notifications) -> Keeping {
    Keeping { age: settings.retention.0, rows: settings.max_kept }
}

/// Where the store is, and how it is opened.
///
/// # Errors
/// What of `database.url` is not understood.
pub(crate) fn store_location(settings: &Settings) -> Result<StoreLocation, String> {
    let database = &settings.database;
    let (readers, busy_timeout) = (database.readers, database.busy_timeout.0);
    let readings_in_memory = database.readings_in_memory;
    Ok(match settings.database_place()? {
        DatabasePlace::File(path) => {
            StoreLocation::File(StoreSettings { path, readers, busy_timeout, readings_in_memory })
        }
        DatabasePlace::Server(url) => {
            check_url(&url).map_err(|error| format!("database.url: {error}"))?;
            StoreLocation::Server(ServerSettings {
                url,
                readers,
                timeout: database.timeout.0,
                startup_timeout: database.startup_timeout.0,
                migrates: database.migrate == Migrate::Auto,
                requires_durability: database.require_durability,
            })
        }
    })
}

/// The hub, and where the readings begin that it will publish, and what happens to alarms.
pub(super) fn live_hub(
    settings: &config::Streams,
    registry: &Registry,
    clock: &crate::clock::Clock,
    last_alarm_event: i64,
) -> Arc<Hub> {
    // Whatever is stored was received by then, unless the clock was set back since.
    registry.note_received(Timestamp::from_micros(clock.unix_micros()));
    let position = Position::end_of(registry.last_received());
    Arc::new(Hub::new(Cursor { position, alarm: last_alarm_event }, settings.max_queued_events))
}

pub(super) fn routes(settings: &[config::Route]) -> Result<RouteTable, InvalidRoute> {
    let templates = settings.iter().map(|route| {
        let kind = match route.kind {
            config::Kind::Data => MessageKind::Data,
            config::Kind::Status => MessageKind::Status,
            config::Kind::Heartbeat => MessageKind::Heartbeat,
        };
        let form = match route.form {
            config::Form::Auto => PayloadForm::Auto,
            config::Form::Rich => PayloadForm::Rich,
            config::Form::Flat => PayloadForm::Flat,
            config::Form::Batch => PayloadForm::Batch,
            config::Form::Single => PayloadForm::Single,
            config::Form::Esp32 => PayloadForm::Esp32,
        };
        let is_gateway = route.device_kind == config::DeviceKind::Gateway;
        RouteTemplate::new(&route.topic, kind, form, is_gateway)
    });
    RouteTable::new(templates.collect::<Result<_, _>>()?)
}

/// What each listener of `mqtt.listen` goes by.
pub(super) fn plain_listener(settings: &config::Mqtt) -> mqtt::ListenerSettings {
    mqtt::ListenerSettings {
        tls: None,
        web_socket: None,
        allow_from: Vec::new(),
        connections_max: settings.max_connections,
        packet_size_max: settings.max_packet_size.as_usize(),
        allow_anonymous: settings.is_open(),
    }
}

/// What one of `mqtt.listeners` goes by.
///
/// # Errors
/// When its certificate, key or authorities can't be used.
pub(super) fn listener(
    settings: &config::Mqtt,
    listener: &config::MqttListener,
) -> Result<mqtt::ListenerSettings, TlsError> {
    let tls = listener.tls_files().map(TlsServer::load).transpose()?;
    let packet_size_max = listener.max_packet_size.unwrap_or(settings.max_packet_size);
    let web_socket = listener.web_socket_path().map(|path| mqtt::WebSocketSettings {
        path: path.to_owned(),
        allow_origins: listener.allow_origins.iter().map(|origin| origin.0.clone()).collect(),
    });
    Ok(mqtt::ListenerSettings {
        tls: tls.map(Arc::new),
        web_socket,
        allow_from: listener.allow_from.iter().map(|network| network.0).collect(),
        connections_max: listener.max_connections.unwrap_or(settings.max_connections),
        packet_size_max: packet_size_max.as_usize(),
        allow_anonymous: settings.listener_is_open(listener),
    })
}

/// To whom `/api` is open without credentials.
pub(super) fn openness(settings: &config::Http) -> Openness {
    match settings.allow_anonymous {
        Anonymous::Yes => Openness::Always,
        Anonymous::Loopback if settings.is_local() => Openness::UntilSomebodyIsKnown,
        Anonymous::Loopback | Anonymous::No => Openness::Never,
    }
}

/// Who decides who comes in.
pub(super) struct Doors {
    pub(super) access: Arc<Access>,
    pub(super) gatekeeper: Arc<Gatekeeper>,
    pub(super) console_key: String,
    registry: Arc<Registry>,
}

impl Doors {
    pub(super) async fn build(
        settings: &Settings,
        store: &Store,
        registry: &Arc<Registry>,
        routes: &RouteTable,
        clock: &Clock,
    ) -> Result<Self, AccessError> {
        let terms = AccessSettings {
            access: &settings.access,
            keys: &settings.http.api_keys,
            openness: openness(&settings.http),
            folder: &settings.data_dir,
        };
        let (access, console_key) = Access::load(store, clock, &terms, registry).await?;
        let access = Arc::new(access);
        let gatekeeper = Gatekeeper::new(
            &settings.access,
            access.clone(),
            registry.clone(),
            routes.clone(),
            clock.clone(),
        );
        let gatekeeper = Arc::new(gatekeeper);
        Ok(Self { access, gatekeeper, console_key, registry: registry.clone() })
    }

    /// The broker with everybody that it asks and tells.
    pub(super) fn broker(
        &self,
        publisher: &Publisher,
        tap: &Arc<Tap>,
        committer: &Arc<Committer>,
        clock: &Clock,
    ) -> Arc<Broker> {
        let made = Arc::new(OnceLock::new());
        let observer = Observer {
            access: self.access.clone(),
            gatekeeper: self.gatekeeper.clone(),
            broker: made.clone(),
            registry: self.registry.clone(),
            committer: committer.clone(),
            clock: clock.clone(),
        };
        let hooks = Hooks {
            authorizer: self.gatekeeper.clone(),
            tap: tap.clone(),
            observer: Arc::new(observer),
            store: tap.clone(),
        };
        let broker = Broker::new(publisher, hooks);
        let _ = made.set(Arc::downgrade(&broker));
        broker
    }
}

/// Carries the broker's news of sessions to presence and to ingest.
struct Observer {
    access: Arc<Access>,
    gatekeeper: Arc<Gatekeeper>,
    /// Set once the broker is made.
    broker: Arc<OnceLock<Weak<Broker>>>,
    registry: Arc<Registry>,
    committer: Arc<Committer>,
    clock: Clock,
}

impl Observer {
    /// Who was let in may have been shut out before the connection was noted.
    fn cut_if_refused(&self, client: &Client, may_stay: bool) {
        if may_stay && self.gatekeeper.still_admits(&client.identity) {
            return;
        }
        if let Some(broker) = self.broker.get().and_then(Weak::upgrade) {
            broker.disconnect(&client.client_id, ReasonCode::NOT_AUTHORIZED);
        }
    }
}

impl SessionObserver for Observer {
    fn connected(&self, client: &Arc<Client>, _session_present: bool) {
        self.registry.connection_opened(client.connection);
        let may_stay = self.access.connections.opened(client);
        if let Some(device) = self.gatekeeper.device_of(&client.identity) {
            let now = Timestamp::from_micros(self.clock.unix_micros());
            self.registry.connection_bound(client.connection, device.as_str(), now);
        }
        self.cut_if_refused(client, may_stay);
        if client.clean_start || !client.session_is_persistent {
            self.committer.forget_deliveries(&client.client_id);
        }
        tracing::debug!(
            client_id = %client.client_id,
            peer = %client.peer,
            version = client.version.label(),
            "connected"
        );
    }

    fn disconnected(&self, client: &Arc<Client>, reason: ReasonCode) {
        let now = Timestamp::from_micros(self.clock.unix_micros());
        self.registry.connection_closed(client.connection, now);
        self.access.connections.closed(client);
        tracing::debug!(client_id = %client.client_id, reason = reason.label(), "disconnected");
    }
}
