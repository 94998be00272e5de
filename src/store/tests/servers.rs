//! Where the stores of tests are: in files, or, with `BROOKLET_TEST_DATABASE`, on the server of that
//! address, each in a database of its own.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use sqlx::{Connection, Executor, mysql::MySqlConnection, postgres::PgConnection};

use super::*;

fn server() -> Option<String> {
    std::env::var("BROOKLET_TEST_DATABASE").ok().filter(|url| !url.is_empty())
}

pub(in crate::store) fn is_sqlite() -> bool {
    server().is_none()
}

/// The store of a folder; the second time the same.
pub(in crate::store) async fn open(folder: &TempDir) -> Result<Store, StoreError> {
    Store::at(&location(folder).await).await
}

pub(in crate::store) async fn location(folder: &TempDir) -> StoreLocation {
    let Some(server) = server() else { return StoreLocation::File(settings(folder)) };
    StoreLocation::Server(ServerSettings {
        url: database(&server, folder.path()).await,
        readers: 2,
        timeout: Duration::from_secs(20),
        startup_timeout: Duration::from_secs(5),
        migrates: true,
        requires_durability: true,
    })
}

/// Makes the database of a folder, where there is none yet.
async fn database(server: &str, folder: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    let name = format!("t{:016x}", hasher.finish());
    let (base, _) = server.rsplit_once('/').unwrap();
    let url = format!("{base}/{name}");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    if server.starts_with("postgres") {
        let mut connection = PgConnection::connect(server).await.unwrap();
        // It is there already.
        let _ = connection.execute(create).await;
    } else {
        let mut connection = MySqlConnection::connect(server).await.unwrap();
        let _ = connection.execute(create).await;
    }
    url
}

#[tokio::test]
async fn a_second_brooklet_stays_out_of_a_database() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await.unwrap();
    let refused = open(&folder).await;
    assert!(matches!(refused, Err(StoreError::InUse { .. })), "{:?}", refused.err());
    store.close().await;
    open(&folder).await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_left_alone_and_an_older_one_on_request() {
    if is_sqlite() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let StoreLocation::Server(settings) = location(&folder).await else { return };
    let check = ServerSettings { migrates: false, ..settings.clone() };
    let older = Store::connect(&check).await;
    assert!(matches!(older, Err(StoreError::OlderSchema(_))), "{:?}", older.err());
    let store = Store::connect(&settings).await.unwrap();
    let sql = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 0)";
    store.seldom.execute_unprepared(sql).await.unwrap();
    store.close().await;
    for settings in [check, settings] {
        let newer = Store::connect(&settings).await;
        assert!(matches!(newer, Err(StoreError::NewerSchema(_))), "{:?}", newer.err());
    }
}
