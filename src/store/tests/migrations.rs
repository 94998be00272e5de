use migration::{Migrator, MigratorTrait};
use sea_orm::{Database, EntityTrait, PaginatorTrait};

use super::*;

/// Of the migrations, those up to the sessions'.
const BEFORE_ALARMS: u32 = 4;

#[tokio::test]
async fn a_store_from_before_alarms_opens_and_keeps_what_it_has() {
    if !is_sqlite() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    std::fs::create_dir_all(settings.path.parent().unwrap()).unwrap();
    let url = format!("sqlite://{}?mode=rwc", settings.path.display());
    let old = Database::connect(url).await.unwrap();
    Migrator::up(&old, Some(BEFORE_ALARMS)).await.unwrap();
    for sql in [
        "INSERT INTO device (id, key, kind, labels, first_seen, online, approval, version) \
         VALUES (1, 'd', 'device', '{}', 0, 0, 'active', 1)",
        "INSERT INTO sensor (id, device_id, name, active, created_at) VALUES (1, 1, 's', 1, 0)",
        "INSERT INTO reading (sensor_id, event_time, received_at, value, quality) \
         VALUES (1, 5, 6, 1.5, 0)",
    ] {
        old.execute_unprepared(sql).await.unwrap();
    }
    let alarms = old.execute_unprepared("SELECT * FROM alarm").await;
    assert!(alarms.is_err(), "the table is there already: is the number of migrations right?");
    old.close().await.unwrap();

    let store = Store::open(&settings).await.unwrap();
    assert_eq!(store.devices().await.unwrap().len(), 1);
    assert_eq!(store.sensors().await.unwrap()[0].newest.unwrap().value, Some(1.5));
    assert_eq!(store.max_alarm_id().await.unwrap(), 0);
    let writer = store.writer(Duration::from_millis(50)).unwrap();
    let saved = commit(writer, |txn| txn.save_alarm(&alarms::alarm(1, "d", None, 1))).await.1;
    saved.unwrap();
    store.clone().close().await;
    drop(store);
    let store = Store::open(&settings).await.unwrap();
    assert_eq!(store.open_alarms().await.unwrap().len(), 1);
}

/// Each entity names the columns that its table has.
#[tokio::test]
async fn entities_and_tables_agree() {
    let folder = TempDir::new().unwrap();
    let (store, _writer, _) = store(&folder, 0).await;
    let readers = &store.readers;
    assert_eq!(entity::alarm::Entity::find().all(readers).await.unwrap(), []);
    assert_eq!(entity::alarm_event::Entity::find().all(readers).await.unwrap(), []);
    assert_eq!(entity::alarm_rule::Entity::find().all(readers).await.unwrap(), []);
    assert_eq!(entity::alarm_rule_version::Entity::find().all(readers).await.unwrap(), []);
    assert_eq!(entity::notification::Entity::find().all(readers).await.unwrap(), []);
    assert_eq!(entity::notification_target::Entity::find().all(readers).await.unwrap(), []);
    assert_eq!(entity::silence::Entity::find().all(readers).await.unwrap(), []);
    assert_eq!(entity::broker_run::Entity::find().count(readers).await.unwrap(), 0);
}
