use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::{
    access::{AccessError, AccessSettings, NewKey, Openness, Scopes, first_start, hash_password},
    mqtt::Version,
    registry::{Device, PresenceSettings, RegistrySettings, UnknownDevices},
    routes::{MessageKind, PayloadForm, RouteTemplate},
    store::{DeviceEdit, NewDevice, Store, StoreSettings},
    telemetry::{DeviceKind, Timestamp},
};

const PEER: &str = "10.0.0.1:1";

async fn gatekeeper(more: &str, clock: &Clock) -> Gatekeeper {
    let text = format!(
        "max_failures = 2\nfailure_window = \"1m\"\nban_time = \"1m\"\n\
         max_connects_per_minute = 0\n{more}"
    );
    let settings = toml::from_str(&text).unwrap();
    let folder = TempDir::new().unwrap().keep();
    let (path, busy_timeout) = (folder.join("brooklet.db"), Duration::from_secs(1));
    let store =
        Store::open(&StoreSettings { readers: 1, busy_timeout, ..StoreSettings::new(path) })
            .await
            .unwrap();
    let (offline_grace, offline_after) = (Duration::ZERO, Duration::ZERO);
    let registry = Arc::new(Registry::new(RegistrySettings {
        unknown: UnknownDevices::Learn,
        learned_per_hour_max: 10,
        presence: PresenceSettings { offline_grace, offline_after },
    }));
    let all =
        AccessSettings { access: &settings, keys: &[], openness: Openness::Never, folder: &folder };
    let (access, _) = Access::load(&store, clock, &all, &registry).await.unwrap();
    let routes = ["devices/{device}/data", "sensors/{device}/{sensor}/data"]
        .map(|text| RouteTemplate::new(text, MessageKind::Data, PayloadForm::Auto, false).unwrap());
    let routes = RouteTable::new(routes.to_vec()).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    Gatekeeper::new(&settings, Arc::new(access), registry, routes, clock.clone())
}

async fn register(gatekeeper: &Gatekeeper, key: &str, gateway: Option<&str>) -> Arc<Device> {
    let device = NewDevice {
        key: DeviceKey::new(key).unwrap(),
        name: None,
        kind: DeviceKind::Device,
        gateway: gateway.map(str::to_owned),
        labels: "{}".to_owned(),
        approval: Approval::Active,
        first_seen: Timestamp::UNIX_EPOCH,
    };
    gatekeeper.access.store.create_device(&device).await.unwrap();
    let rows = gatekeeper.access.store.devices().await.unwrap();
    let row = rows.into_iter().find(|row| row.key == device.key).unwrap();
    gatekeeper.registry.adopt_device(Arc::new(Device::new(row)))
}

fn block(device: &Device) {
    let snapshot = device.snapshot();
    let edit = DeviceEdit {
        name: None,
        kind: snapshot.kind,
        gateway: snapshot.gateway,
        labels: "{}".to_owned(),
        approval: Approval::Blocked,
    };
    device.apply(edit, 2);
}

fn attempt(user: Option<&str>, password: &str) -> ConnectAttempt {
    ConnectAttempt {
        connection: 1,
        client_id: "c".into(),
        user_name: user.map(str::to_owned),
        password: Some(bytes::Bytes::copy_from_slice(password.as_bytes())),
        peer: PEER.parse().unwrap(),
        certificate: None,
        allow_anonymous: false,
    }
}

fn client(user: Option<&str>) -> Client {
    Client {
        connection: 1,
        client_id: "c".into(),
        identity: Identity(user.map(Into::into)),
        version: Version::V5,
        peer: PEER.parse().unwrap(),
        packet_size_max: 1,
        clean_start: true,
        session_is_persistent: false,
    }
}

#[test]
fn the_broker_speaks_for_itself() {
    for own in ["$SYS/x", "alarms/a/b", "devices/d/presence", "devices/d/errors"] {
        assert!(is_brokers_own(own), "{own}");
    }
    for free in ["devices/d/data", "devices/d/errors/x", "a/presence", "温度/1", "/"] {
        assert!(!is_brokers_own(free), "{free}");
    }
}

#[tokio::test]
async fn without_rules_nothing_is_asked_at_delivery() {
    let gatekeeper = gatekeeper("certificate_user = \"none\"", &Clock::manual(0)).await;
    let anybody = client(None);
    assert!(gatekeeper.may_publish(&anybody, "a") && !gatekeeper.may_publish(&anybody, "$a"));
    assert!(gatekeeper.may_subscribe(&anybody, "#"));
    assert!(!gatekeeper.filters_deliveries(&anybody));
    assert!(gatekeeper.may_receive(&anybody, "a"));
}

#[tokio::test]
async fn deliveries_are_filtered_where_rights_are_narrower() {
    let rules = "certificate_user = \"cn\"\nrules = [\
        { user = \"*\", allow = [\"both:devices/{user}/#\"] },\
        { user = \"boss\", allow = [\"both:#\"] }]";
    let gatekeeper = gatekeeper(rules, &Clock::manual(0)).await;
    let (ann, boss, nobody) = (client(Some("ann")), client(Some("boss")), client(None));
    assert!(gatekeeper.filters_deliveries(&ann) && gatekeeper.may_subscribe(&ann, "#"));
    assert!(gatekeeper.may_receive(&ann, "devices/ann/data"));
    assert!(!gatekeeper.may_receive(&ann, "devices/boss/data"));
    assert!(!gatekeeper.filters_deliveries(&boss) && gatekeeper.may_publish(&boss, "x"));
    assert!(!gatekeeper.may_publish(&boss, "devices/boss/errors"));
    assert!(!gatekeeper.may_subscribe(&nobody, "#") && !gatekeeper.may_publish(&nobody, "x"));
}

#[tokio::test]
async fn a_ban_holds_for_the_right_password_too_and_ends() {
    let clock = Clock::manual(0);
    let hash = hash_password(b"right").unwrap();
    let users = format!(
        "certificate_user = \"none\"\nusers = [{{ name = \"ann\", password = \"{hash}\" }}]"
    );
    let gatekeeper = gatekeeper(&users, &clock).await;
    let log_in = |user, password| gatekeeper.connect(attempt(user, password));
    let ann = Ok(Identity(Some("ann".into())));
    assert_eq!(log_in(Some("ann"), "right").await, ann);
    for _ in 0..2 {
        let wrong = Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
        assert_eq!(log_in(Some("ann"), "wrong").await, wrong);
    }
    let banned = Err(ReasonCode::CONNECTION_RATE_EXCEEDED);
    assert_eq!(log_in(Some("ann"), "right").await, banned);
    clock.advance(Duration::from_secs(60));
    assert_eq!(log_in(Some("ann"), "right").await, ann);
    assert_eq!(log_in(None, "").await, Err(ReasonCode::NOT_AUTHORIZED));
}

#[tokio::test]
async fn a_certificate_names_its_user() {
    let rules = "certificate_user = \"cn\"\n\
        rules = [{ user = \"*\", allow = [\"both:{user}/{client}\"] }]";
    let gatekeeper = gatekeeper(rules, &Clock::manual(0)).await;
    let log_in = |name: Option<&str>, client_id: &str| {
        let certificate = CertificateSubject {
            common_name: name.map(str::to_owned),
            distinguished_name: String::new(),
        };
        let attempt = attempt(Some("somebody else"), "");
        gatekeeper.connect(ConnectAttempt {
            certificate: Some(certificate),
            client_id: client_id.into(),
            ..attempt
        })
    };
    let pump = Ok(Identity(Some("device:pump".into())));
    assert_eq!(log_in(Some("pump"), "c").await, pump);
    assert_eq!(log_in(None, "c").await, Err(ReasonCode::NOT_AUTHORIZED));
    for odd in ["a/b", "+", "#"] {
        assert_eq!(log_in(Some(odd), "c").await, Err(ReasonCode::NOT_AUTHORIZED));
        let refused = Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        assert_eq!(log_in(Some("pump"), odd).await, refused);
    }
}

#[tokio::test]
async fn a_device_proves_itself_and_keeps_to_its_own_topics() {
    let gatekeeper = gatekeeper("certificate_user = \"cn\"", &Clock::manual(1)).await;
    let by = first_start::console();
    let esp = register(&gatekeeper, "esp", None).await;
    register(&gatekeeper, "other", None).await;
    register(&gatekeeper, "behind", Some("esp")).await;
    let devices = &gatekeeper.access.devices;
    let (_, secret) = devices.issue_secret(&esp, None, None, &by).await.unwrap();
    let identity = Identity(Some("device:esp".into()));
    let log_in =
        async |user: &str, password: &str| gatekeeper.connect(attempt(Some(user), password)).await;
    assert_eq!(log_in("esp", &secret).await, Ok(identity.clone()));
    assert_eq!(gatekeeper.device_of(&identity).unwrap().as_str(), "esp");
    let wrong = Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
    assert_eq!(log_in("other", &secret).await, wrong);
    assert_eq!(log_in("esp", "guessed").await, wrong);
    devices.add_certificate(&esp, "SN 7".to_owned(), None, &by).await.unwrap();
    let certificate = |name: &str| CertificateSubject {
        common_name: Some(name.to_owned()),
        distinguished_name: String::new(),
    };
    let shows = |name: &str| gatekeeper.by_certificate(&certificate(name));
    assert_eq!(shows("SN 7"), Ok(identity.clone()));
    assert_eq!(shows("esp"), Ok(identity.clone()));
    assert_eq!(shows("device:x"), Ok(Identity(Some("device:device:x".into()))));
    assert_eq!(shows("user:ann@x"), Err(ReasonCode::NOT_AUTHORIZED));

    let client = client(Some("device:esp"));
    for own in ["devices/esp/data", "sensors/esp/7/data", "devices/behind/data"] {
        assert!(gatekeeper.may_publish(&client, own), "{own}");
    }
    for other in ["devices/other/data", "devices/new/data", "devices/esp/config", "x"] {
        assert!(!gatekeeper.may_publish(&client, other), "{other}");
    }
    let more = config::Permission::try_from("publish:x".to_owned()).unwrap();
    devices.set_permissions(&esp, vec![more]).await.unwrap();
    assert!(gatekeeper.may_publish(&client, "x"));
    block(&esp);
    assert_eq!(log_in("esp", &secret).await, Err(ReasonCode::NOT_AUTHORIZED));
    assert_eq!(shows("SN 7"), Err(ReasonCode::NOT_AUTHORIZED));
    assert!(!gatekeeper.may_publish(&client, "x") && !gatekeeper.still_admits(&identity));
}

#[tokio::test]
async fn nothing_is_given_to_a_device_that_is_being_deleted() {
    let gatekeeper = gatekeeper("certificate_user = \"cn\"", &Clock::manual(1)).await;
    let (esp, by) = (register(&gatekeeper, "esp", None).await, first_start::console());
    let devices = &gatekeeper.access.devices;
    assert!(esp.begin_leaving());
    let secret = devices.issue_secret(&esp, None, None, &by).await;
    assert!(matches!(secret, Err(AccessError::Leaving)));
    let certificate = devices.add_certificate(&esp, "SN 7".to_owned(), None, &by).await;
    assert!(matches!(certificate, Err(AccessError::Leaving)));
    let more = config::Permission::try_from("publish:x".to_owned()).unwrap();
    let permissions = devices.set_permissions(&esp, vec![more]).await;
    assert!(matches!(permissions, Err(AccessError::Leaving)));
    esp.stay();
    devices.add_certificate(&esp, "SN 7".to_owned(), None, &by).await.unwrap();
    devices.forget(esp.id).await;
    assert!(devices.credentials(esp.id).is_empty());
}

#[tokio::test]
async fn a_key_is_a_password_for_what_it_allows() {
    let gatekeeper = gatekeeper("certificate_user = \"none\"", &Clock::manual(1)).await;
    register(&gatekeeper, "esp", None).await;
    let by = first_start::console();
    let make = async |name: &str, scope, device: Option<&str>| {
        let new = NewKey {
            name: name.to_owned(),
            scopes: Scopes::new(&[scope]),
            device: device.map(|key| DeviceKey::new(key).unwrap()),
            expires_at: None,
        };
        gatekeeper.access.keys.create(new, &by).await.unwrap()
    };
    let (reader, reads) = make("reader", Scope::MqttRead, None).await;
    let (bound, speaks) = make("bound", Scope::TelemetryWrite, Some("esp")).await;
    let (_, nothing) = make("nothing", Scope::DataRead, None).await;
    let log_in = async |text: &str| gatekeeper.connect(attempt(Some("any"), text)).await;
    let identity = |id: i64| format!("key:{id}");
    assert_eq!(log_in(&reads).await, Ok(Identity(Some(identity(reader.id).into()))));
    assert_eq!(log_in(&nothing).await, Err(ReasonCode::NOT_AUTHORIZED));
    let bound_identity = log_in(&speaks).await.unwrap();
    assert_eq!(gatekeeper.device_of(&bound_identity).unwrap().as_str(), "esp");
    let (reader_client, bound_client) =
        (client(Some(&identity(reader.id))), client(Some(&identity(bound.id))));
    assert!(gatekeeper.may_subscribe(&reader_client, "#"));
    assert!(gatekeeper.may_receive(&reader_client, "devices/esp/data"));
    assert!(!gatekeeper.may_publish(&reader_client, "devices/esp/data"));
    assert!(gatekeeper.may_publish(&bound_client, "devices/esp/data"));
    assert!(!gatekeeper.may_publish(&bound_client, "devices/b/data"));
    assert!(!gatekeeper.may_receive(&bound_client, "devices/b/data"));
    gatekeeper.access.keys.delete(reader.id, &by).await.unwrap();
    assert!(!gatekeeper.may_receive(&reader_client, "devices/esp/data"));
    let wrong = Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
    assert_eq!(log_in(&reads).await, wrong);
}
