//! People, their sessions and the first start, with a real store.

use std::{net::IpAddr, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    registry::{PresenceSettings, RegistrySettings, UnknownDevices},
    store::StoreSettings,
};

const SETTINGS: &str = "certificate_user = \"none\"\nmax_failures = 3\nfailure_window = \"1m\"\n\
    ban_time = \"1m\"\nmax_connects_per_minute = 0";
const PASSWORD: &str = "a fine long password";

struct World {
    access: Access,
    clock: Clock,
    folder: TempDir,
}

async fn world() -> World {
    let folder = TempDir::new().unwrap();
    let clock = Clock::manual(1_000_000_000_000_000);
    let access = load(&folder, &clock).await;
    World { access, clock, folder }
}

async fn load(folder: &TempDir, clock: &Clock) -> Access {
    let (path, busy_timeout) = (folder.path().join("brooklet.db"), Duration::from_secs(1));
    let store =
        Store::open(&StoreSettings { readers: 1, busy_timeout, ..StoreSettings::new(path) })
            .await
            .unwrap();
    let settings = toml::from_str(SETTINGS).unwrap();
    let (offline_grace, offline_after) = (Duration::ZERO, Duration::ZERO);
    let registry = Registry::new(RegistrySettings {
        unknown: UnknownDevices::Learn,
        learned_per_hour_max: 1,
        presence: PresenceSettings { offline_grace, offline_after },
    });
    let settings = AccessSettings {
        access: &settings,
        keys: &[],
        openness: Openness::Never,
        folder: folder.path(),
    };
    Access::load(&store, clock, &settings, &registry).await.unwrap().0
}

impl World {
    async fn reload(self) -> Self {
        let Self { access, clock, folder } = self;
        access.store.clone().close().await;
        drop(access);
        let access = load(&folder, &clock).await;
        Self { access, clock, folder }
    }

    async fn person(&self, name: &str, role: Role) {
        let person = NewPerson {
            name: name.to_owned(),
            email: None,
            role,
            password: NewPassword::Plain(PASSWORD.to_owned()),
            mqtt_allow: Vec::new(),
        };
        self.access.people.create(person, &first_start::console()).await.unwrap();
    }

    async fn sign_in(&self, name: &str, password: &str) -> Result<Tokens, AccessError> {
        self.access.people.sign_in(name, password, &origin()).await
    }

    async fn refresh(&self, token: &str) -> Result<Tokens, AccessError> {
        self.access.people.refresh(token, &origin()).await
    }
}

fn origin() -> Origin {
    Origin { address: IpAddr::from([10, 0, 0, 1]), user_agent: Some("test".to_owned()) }
}

fn may(role: Role) -> Principal {
    let actor = Actor::User { id: 0, name: "x".to_owned(), session: 0 };
    Principal { actor, scopes: role.scopes(), device: None }
}

#[tokio::test]
async fn tokens_go_on_once_and_a_reused_one_ends_the_family() {
    let world = world().await;
    world.person("ann", Role::Viewer).await;
    let first = world.sign_in("ann", PASSWORD).await.unwrap();
    let ann = world.access.recognise(&first.access).unwrap();
    assert_eq!((ann.actor.kind(), ann.actor.name()), ("user", "ann"));
    assert!(ann.may(Scope::DataRead) && !ann.may(Scope::DataWrite));
    let second = world.refresh(&first.refresh).await.unwrap();
    let world = world.reload().await;
    let third = world.refresh(&second.refresh).await.unwrap();
    assert!(world.access.recognise(&third.access).is_some());
    assert!(matches!(world.refresh(&first.refresh).await, Err(AccessError::Reused(_))));
    assert!(matches!(world.refresh(&third.refresh).await, Err(AccessError::Expired)));
    for tokens in [&first, &second, &third] {
        assert!(world.access.recognise(&tokens.access).is_none());
    }
    assert!(matches!(world.refresh("brr_guessed").await, Err(AccessError::Expired)));
}

#[tokio::test]
async fn a_token_whose_answer_was_lost_is_taken_again_for_moments() {
    let world = world().await;
    world.person("ann", Role::Viewer).await;
    let first = world.sign_in("ann", PASSWORD).await.unwrap();
    let lost = world.refresh(&first.refresh).await.unwrap();
    world.clock.advance(Duration::from_secs(9));
    let second = world.refresh(&first.refresh).await.unwrap();
    let third = world.refresh(&second.refresh).await.unwrap();
    assert!(world.access.recognise(&third.access).is_some());
    assert!(matches!(world.refresh(&lost.refresh).await, Err(AccessError::Reused(_))));

    let first = world.sign_in("ann", PASSWORD).await.unwrap();
    world.refresh(&first.refresh).await.unwrap();
    world.clock.advance(Duration::from_secs(10));
    assert!(matches!(world.refresh(&first.refresh).await, Err(AccessError::Reused(_))));
}

#[tokio::test]
async fn what_was_proven_before_a_change_begins_no_session() {
    let world = world().await;
    let (people, console) = (&world.access.people, first_start::console());
    world.person("ann", Role::Viewer).await;
    let proven = people.get("ann").unwrap();
    assert!(people.begin(&proven, &origin()).await.unwrap().is_some());
    let change = PersonChange { role: Some(Role::Operator), ..PersonChange::default() };
    people.change("ann", None, change, &console).await.unwrap();
    let tokens = people.begin(&proven, &origin()).await.unwrap().unwrap();
    assert_eq!(tokens.user.role, Role::Operator, "as it is by now");
    let next = "another fine password";
    people.set_password("ann", next, &console).await.unwrap();
    assert!(people.begin(&proven, &origin()).await.unwrap().is_none());
    assert!(people.renew_hash(&proven, PASSWORD).await.unwrap().is_none());
    let own = people.put_password("ann", "yet another password", Some((&proven, 1))).await;
    assert!(matches!(own, Err(AccessError::Wrong)));
    assert!(world.sign_in("ann", next).await.is_ok());
    let proven = people.get("ann").unwrap();
    let change = PersonChange { active: Some(false), ..PersonChange::default() };
    people.change("ann", None, change, &console).await.unwrap();
    assert!(people.begin(&proven, &origin()).await.unwrap().is_none());
    assert!(people.sessions_of(proven.id).is_empty());
}

#[tokio::test]
async fn tokens_and_sessions_end_in_time() {
    let world = world().await;
    world.person("ann", Role::Viewer).await;
    let tokens = world.sign_in("ann", PASSWORD).await.unwrap();
    world.clock.advance(Duration::from_secs(29 * 60));
    assert!(world.access.recognise(&tokens.access).is_some());
    world.access.rotate_token_key().unwrap();
    assert!(world.access.recognise(&tokens.access).is_some());
    world.clock.advance(Duration::from_secs(60));
    assert!(world.access.recognise(&tokens.access).is_none());
    world.clock.advance(Duration::from_secs(30 * 86_400));
    assert!(matches!(world.refresh(&tokens.refresh).await, Err(AccessError::Expired)));
    world.access.upkeep(10).await.unwrap();
    assert!(world.access.store.user_sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn who_may_not_sign_in_is_signed_out() {
    let world = world().await;
    world.person("root", Role::Admin).await;
    world.person("ann", Role::Operator).await;
    let tokens = world.sign_in("ann", PASSWORD).await.unwrap();
    let people = &world.access.people;
    let off = || PersonChange { active: Some(false), ..PersonChange::default() };
    assert!(matches!(
        people.change("ann", None, off(), &may(Role::Viewer)).await,
        Err(AccessError::Beyond)
    ));
    let changed = people.change("ann", Some(1), off(), &may(Role::Admin)).await.unwrap();
    assert_eq!((changed.active, changed.version), (false, 2));
    assert!(world.access.recognise(&tokens.access).is_none());
    assert!(matches!(world.sign_in("ann", PASSWORD).await, Err(AccessError::Wrong)));
    assert!(matches!(
        people.change("root", None, off(), &may(Role::Admin)).await,
        Err(AccessError::LastAdmin)
    ));
    assert!(matches!(people.delete("root", &may(Role::Admin)).await, Err(AccessError::LastAdmin)));
    people.delete("ann", &may(Role::Operator)).await.unwrap();
    assert!(people.get("ann").is_none());
}

#[tokio::test]
async fn guesses_are_slowed_by_account_and_address() {
    let world = world().await;
    world.person("ann", Role::Viewer).await;
    for _ in 0..3 {
        assert!(matches!(world.sign_in("ann", "wrong").await, Err(AccessError::Wrong)));
    }
    assert!(matches!(world.sign_in("ann", PASSWORD).await, Err(AccessError::Throttled)));
    let elsewhere = Origin { address: IpAddr::from([10, 0, 0, 2]), ..origin() };
    assert!(world.access.people.sign_in("ann", PASSWORD, &elsewhere).await.is_ok());
    world.clock.advance(Duration::from_secs(60));
    assert!(world.sign_in("ann", PASSWORD).await.is_ok());
    for n in 0..30 {
        assert!(world.sign_in(&format!("nobody{n}"), "wrong").await.is_err());
    }
    assert!(matches!(world.sign_in("ann", PASSWORD).await, Err(AccessError::Throttled)));
}

#[tokio::test]
async fn a_moved_users_hash_becomes_ours_when_it_was_right_once() {
    let world = world().await;
    let person = NewPerson {
        name: "moved".to_owned(),
        email: Some("moved@example.org".to_owned()),
        role: Role::Viewer,
        password: NewPassword::Hash(bcrypt::hash("from-elsewhere", 4).unwrap()),
        mqtt_allow: Vec::new(),
    };
    world.access.people.create(person, &first_start::console()).await.unwrap();
    let stored = async |world: &World| {
        let users = world.access.store.users().await.unwrap();
        users.into_iter().find(|user| user.name == "moved").unwrap().password_hash
    };
    assert!(world.sign_in("moved", "guessed").await.is_err());
    assert!(stored(&world).await.starts_with("$2b$"));
    world.sign_in("moved", "from-elsewhere").await.unwrap();
    assert!(stored(&world).await.starts_with("$argon2id$"));
    let world = world.reload().await;
    world.sign_in("moved", "from-elsewhere").await.unwrap();
}

#[tokio::test]
async fn passwords_are_changed_by_who_knows_them_or_may_do_as_much() {
    let world = world().await;
    world.person("ann", Role::Operator).await;
    let here = world.sign_in("ann", PASSWORD).await.unwrap();
    let there = world.sign_in("ann", PASSWORD).await.unwrap();
    let Some(Principal { actor: Actor::User { session, .. }, .. }) =
        world.access.recognise(&here.access)
    else {
        panic!("no user");
    };
    let people = &world.access.people;
    let change = async |current: &str, next: &str| {
        people.change_password("ann", (current, next), session, &origin()).await
    };
    assert!(matches!(change("wrong", "another fine one").await, Err(AccessError::Wrong)));
    let short = change(PASSWORD, "short").await;
    assert!(matches!(short, Err(AccessError::Invalid { field: "password", .. })));
    change(PASSWORD, "another fine one").await.unwrap();
    assert!(world.access.recognise(&here.access).is_some());
    assert!(world.access.recognise(&there.access).is_none());
    let by_viewer = people.set_password("ann", "yet another one", &may(Role::Viewer)).await;
    assert!(matches!(by_viewer, Err(AccessError::Beyond)));
    people.set_password("ann", "yet another one", &may(Role::Admin)).await.unwrap();
    assert!(world.access.recognise(&here.access).is_none());
    assert!(world.sign_in("ann", "yet another one").await.is_ok());
}

#[tokio::test]
async fn the_first_start_makes_somebody_who_may_do_everything_once() {
    let world = world().await;
    let first = world.access.first_start().await.unwrap().unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap().trim().to_owned();
    assert_eq!(read(&first.password_file), first.password);
    assert_eq!(read(&first.key_file), first.key);
    assert!(world.access.recognise(&first.key).unwrap().may(Scope::Admin));
    world.sign_in(first.user, &first.password).await.unwrap();
    let world = world.reload().await;
    assert!(world.access.first_start().await.unwrap().is_none());
    let people = &world.access.people;
    people.set_password("admin", PASSWORD, &first_start::console()).await.unwrap();
    assert!(!first.password_file.exists() && !first.key_file.exists());
    assert!(world.access.recognise(&first.key).is_some(), "the key stays");
}

#[tokio::test]
async fn keys_allow_no_more_than_who_makes_them() {
    let world = world().await;
    let keys = &world.access.keys;
    let key = |name: &str, scopes: &[Scope], device: Option<&str>| NewKey {
        name: name.to_owned(),
        scopes: Scopes::new(scopes),
        device: device.map(|key| crate::telemetry::DeviceKey::new(key).unwrap()),
        expires_at: None,
    };
    let operator = may(Role::Operator);
    let beyond = keys.create(key("a", &[Scope::Admin], None), &operator).await;
    assert!(matches!(beyond, Err(AccessError::Beyond)));
    for (scopes, device) in [(&[][..], None), (&[Scope::DataRead], Some("d"))] {
        let refused = keys.create(key("a", scopes, device), &operator).await;
        assert!(matches!(refused, Err(AccessError::Invalid { field: "scopes", .. })));
    }
    let (made, text) = keys.create(key("a", &[Scope::DataRead], None), &operator).await.unwrap();
    assert!(text.starts_with(&made.prefix) && text.starts_with("brk_"));
    let expires_at = Some(world.access.now().plus_micros(1_000_000));
    let change = KeyChange { expires_at: Some(expires_at), ..KeyChange::default() };
    assert_eq!(keys.change(made.id, Some(1), change, &operator).await.unwrap().version, 2);
    assert!(world.access.recognise(&text).is_some());
    world.clock.advance(Duration::from_secs(1));
    assert!(world.access.recognise(&text).is_none());
    world.access.save_uses().await.unwrap();
    let id = made.id;
    let world = world.reload().await;
    let kept = world.access.keys.get(id).unwrap();
    assert!(kept.used_at().is_some() && kept.expires_at == expires_at);
    assert!(world.access.recognise(&format!("{text}x")).is_none());
}
