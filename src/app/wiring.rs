//! From settings to what each room wants to be told.

use std::sync::Arc;

use crate::{
    access::{ApiKey, Grant},
    config::{self, Anonymous, Settings, Unknown},
    ingest::{Committer, IngestLimits},
    mqtt::{
        self, Client, InboundRate, ReasonCode, SessionObserver, SharedDispatch, topic::TopicLimits,
    },
    registry::{PresenceSettings, Registry, RegistrySettings, UnknownDevices},
    routes::{InvalidRoute, MessageKind, PayloadForm, RouteTable, RouteTemplate},
    store::{QuarantineLimits, StoreSettings},
    telemetry::{DeviceKey, Timestamp},
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

pub(super) fn store_settings(settings: &Settings) -> Result<StoreSettings, String> {
    Ok(StoreSettings {
        path: settings.database_path()?,
        readers: settings.database.readers,
        busy_timeout: settings.database.busy_timeout.0,
    })
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

/// Whether `/api` is open without a key.
pub(super) fn http_is_open(settings: &config::Http) -> bool {
    match settings.allow_anonymous {
        Anonymous::Yes => true,
        Anonymous::Loopback => settings.api_keys.is_empty(),
        Anonymous::No => false,
    }
}

/// # Errors
/// Names the key whose device id is illegal.
pub(super) fn api_keys(settings: &[config::ApiKey]) -> Result<Vec<ApiKey>, String> {
    let read = |key: &config::ApiKey| {
        let device = key.device.as_deref().map(DeviceKey::new).transpose();
        let device = device
            .map_err(|error| format!("http.api_keys, the device of {:?}: {error}", key.name))?;
        let grant = device.map_or(Grant::Full, Grant::DeviceUploads);
        Ok(ApiKey { name: key.name.clone(), key: key.key.clone(), grant })
    };
    settings.iter().map(read).collect()
}

/// Carries the broker's news of sessions to presence and to ingest.
pub(super) struct Observer {
    pub(super) registry: Arc<Registry>,
    pub(super) committer: Arc<Committer>,
    pub(super) clock: crate::clock::Clock,
}

impl SessionObserver for Observer {
    fn connected(&self, client: &Arc<Client>, _session_present: bool) {
        self.registry.connection_opened(client.connection);
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
        tracing::debug!(client_id = %client.client_id, reason = reason.label(), "disconnected");
    }
}
