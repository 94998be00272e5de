use tempfile::TempDir;

use super::*;
use crate::{
    store::{NewDevice, Store, StoreError},
    telemetry::{Approval, DeviceId, DeviceKey, DeviceKind, Timestamp},
};

async fn store(folder: &TempDir) -> Store {
    crate::store::tests::open(folder).await.unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn user(name: &str) -> NewUser {
    NewUser {
        name: name.to_owned(),
        email: None,
        role: "viewer".to_owned(),
        password_hash: "hash".to_owned(),
        mqtt_allow: vec!["publish:a".to_owned()],
        created_at: at(1),
    }
}

fn session(user: i64, byte: u8) -> NewSession {
    let first_use =
        SessionUse { used_at: at(1), expires_at: at(9), user_agent: None, address: None };
    NewSession { user, selector_hash: [byte; 32], token_hash: [byte; 32], first_use }
}

async fn device(store: &Store, key: &str) -> DeviceId {
    let device = NewDevice {
        key: DeviceKey::new(key).unwrap(),
        name: None,
        kind: DeviceKind::Device,
        gateway: None,
        labels: "{}".to_owned(),
        approval: Approval::Active,
        first_seen: at(0),
    };
    store.create_device(&device).await.unwrap()
}

#[tokio::test]
async fn users_are_edited_at_their_version_and_leave_with_their_sessions() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let ann = store.create_user(&user("ann")).await.unwrap();
    let again = store.create_user(&user("ann")).await;
    assert!(matches!(again, Err(StoreError::Exists("a user of that name"))), "{again:?}");
    let edit = UserEdit {
        email: Some("ann@example.org".to_owned()),
        role: "admin".to_owned(),
        active: false,
        password_hash: "other".to_owned(),
        mqtt_allow: vec![],
        updated_at: at(2),
    };
    assert_eq!(store.update_user(ann.id, 1, &edit).await.unwrap(), 2);
    assert!(matches!(store.update_user(ann.id, 1, &edit).await, Err(StoreError::Outdated)));
    let [stored] = store.users().await.unwrap().try_into().unwrap();
    assert_eq!((stored.role.as_str(), stored.active, stored.version), ("admin", false, 2));
    store.create_user_session(&session(ann.id, 1)).await.unwrap();
    store.delete_user(ann.id).await.unwrap();
    assert!(store.user_sessions().await.unwrap().is_empty());
    assert!(store.create_user_session(&session(ann.id, 2)).await.is_err());
}

#[tokio::test]
async fn a_session_moves_on_from_its_current_token_only() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let ann = store.create_user(&user("ann")).await.unwrap();
    let id = store.create_user_session(&session(ann.id, 1)).await.unwrap();
    let used = SessionUse {
        used_at: at(2),
        expires_at: at(10),
        user_agent: Some("curl".to_owned()),
        address: Some("::1".to_owned()),
    };
    store.rotate_user_session(id, (&[1; 32], &[2; 32]), &used).await.unwrap();
    let again = store.rotate_user_session(id, (&[1; 32], &[3; 32]), &used).await;
    assert!(matches!(again, Err(StoreError::Outdated)));
    let [stored] = store.user_sessions().await.unwrap().try_into().unwrap();
    assert_eq!((stored.token_hash, stored.last_use), ([2; 32], used));
    store.end_user_sessions(&[id]).await.unwrap();
    assert!(store.user_sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn keys_have_names_of_their_own() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let key = |name: &str, byte| NewApiKey {
        name: name.to_owned(),
        prefix: "brk_1234".to_owned(),
        key_hash: [byte; 32],
        scopes: "data:read".to_owned(),
        device: Some(DeviceKey::new("esp").unwrap()),
        created_at: at(1),
        created_by: "user:admin".to_owned(),
        expires_at: Some(at(5)),
    };
    let one = store.create_api_key(&key("one", 1)).await.unwrap();
    let two = store.create_api_key(&key("two", 2)).await.unwrap();
    assert!(matches!(store.create_api_key(&key("one", 3)).await, Err(StoreError::Exists(TAKEN))));
    let edit = ApiKeyEdit { name: "one".to_owned(), scopes: "admin".to_owned(), expires_at: None };
    let renamed = store.update_api_key(two.id, 1, &edit).await;
    assert!(matches!(renamed, Err(StoreError::Exists(TAKEN))), "{renamed:?}");
    assert_eq!(store.update_api_key(one.id, 1, &edit).await.unwrap(), 2);
    store.note_uses(&[(one.id, at(7))], &[]).await.unwrap();
    store.delete_api_key(two.id).await.unwrap();
    let [stored] = store.api_keys().await.unwrap().try_into().unwrap();
    let expected = ApiKeyRow {
        scopes: "admin".to_owned(),
        expires_at: None,
        used_at: Some(at(7)),
        version: 2,
        ..one
    };
    assert_eq!(stored, expected);
}

const TAKEN: &str = "a key of that name";

#[tokio::test]
async fn a_secret_shortens_its_predecessors_and_goes_with_its_device() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let (esp, other) = (device(&store, "esp").await, device(&store, "other").await);
    let secret = |device, byte| NewCredential {
        device,
        proof: Proof::Secret([byte; 32]),
        created_at: at(1),
        created_by: "console".to_owned(),
        expires_at: None,
    };
    let certificate =
        NewCredential { proof: Proof::Certificate("SN-1".to_owned()), ..secret(esp, 0) };
    store.create_device_credential(&certificate, None).await.unwrap();
    store.create_device_credential(&secret(esp, 1), None).await.unwrap();
    store.create_device_credential(&secret(other, 2), None).await.unwrap();
    store.create_device_credential(&secret(esp, 3), Some(at(60))).await.unwrap();
    store.create_device_credential(&secret(esp, 4), Some(at(90))).await.unwrap();
    let expiry: Vec<_> =
        store.device_credentials().await.unwrap().iter().map(|row| row.expires_at).collect();
    assert_eq!(expiry, [None, Some(at(60)), None, Some(at(90)), None]);
    store.set_device_permissions(esp, &["publish:a".to_owned()]).await.unwrap();
    store.set_device_permissions(esp, &["publish:b".to_owned()]).await.unwrap();
    let permissions = store.device_permissions().await.unwrap();
    assert_eq!(permissions, [(esp, vec!["publish:b".to_owned()])]);
    store.delete_device(esp).await.unwrap();
    assert_eq!(store.device_credentials().await.unwrap().len(), 1);
    assert!(store.device_permissions().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_log_is_read_by_filters_and_page_by_page() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    for n in 0..10 {
        let entry = NewAudit {
            at: at(n),
            actor_kind: "user",
            actor: if n % 2 == 0 { "ann" } else { "bob" }.to_owned(),
            action: "update_device".to_owned(),
            resource: format!("/api/devices/d{n}"),
            detail: None,
            address: None,
            request_id: None,
        };
        store.add_audit(entry).await.unwrap();
    }
    let found = async |filter: AuditFilter| {
        let rows = store.audit_page(&filter, 3).await.unwrap();
        rows.iter().map(|row| row.at.as_micros() / 1_000_000).collect::<Vec<_>>()
    };
    assert_eq!(found(AuditFilter::default()).await, [9, 8, 7]);
    let anns = AuditFilter { actor: Some("ann".to_owned()), ..AuditFilter::default() };
    assert_eq!(found(anns).await, [8, 6, 4]);
    let range = AuditFilter { from: Some(at(2)), to: Some(at(4)), ..AuditFilter::default() };
    assert_eq!(found(range).await, [3, 2]);
    // What stands for other characters in SQL does not do so here.
    let wild = AuditFilter { resource: Some("/api/%".to_owned()), ..AuditFilter::default() };
    assert!(found(wild).await.is_empty());
    let one =
        AuditFilter { resource: Some("/api/devices/d4".to_owned()), ..AuditFilter::default() };
    assert_eq!(found(one).await, [4]);
    let older = AuditFilter { before: Some(3), ..AuditFilter::default() };
    assert_eq!(found(older).await, [1, 0]);
    store.prune_audit(4).await.unwrap();
    assert_eq!(store.audit_page(&AuditFilter::default(), 100).await.unwrap().len(), 4);
}
