//! PostgreSQL and MariaDB under the real binary: servers that die, are full, read-only or slow.
//!
//! With `BROOKLET_TEST_SERVERS=1` each test starts a private server (`.ci/databases`); without, there is
//! nothing to test. With `BROOKLET_TEST_DATABASE=URL` every other test of the suite keeps its data on
//! that server, in a database of its own.

mod moving;
mod tls;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    process::Command,
    time::Duration,
};

use reqwest::Method;
use sqlx::{
    AssertSqlSafe, Connection, Executor, Row, mysql::MySqlConnection, postgres::PgConnection,
};
use tempfile::TempDir;

use crate::{
    crash::{Acknowledged, PUBLISHERS, publish_until_dead, rounds},
    harness::{Brooklet, command},
};

/// Whether this test's data are not in a file: there is nothing to look into or to make trouble in.
pub(crate) fn is_elsewhere() -> bool {
    std::env::var("BROOKLET_TEST_DATABASE").is_ok_and(|url| !url.is_empty())
}

/// The database of a test's folder on the server of `BROOKLET_TEST_DATABASE`, made where it is not there.
pub(crate) fn database(folder: &Path) -> Option<String> {
    let server = std::env::var("BROOKLET_TEST_DATABASE").ok().filter(|url| !url.is_empty())?;
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    let name = format!("t{:016x}", hasher.finish());
    let (base, _) = server.rsplit_once('/').unwrap();
    let url = format!("{base}/{name}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // It fails where it is there already.
    let _ = runtime.block_on(run(&server, &[&format!("CREATE DATABASE {name}")]));
    Some(url)
}

/// Runs statements on a connection of their own, one after the other.
async fn run(url: &str, statements: &[&str]) -> Result<(), sqlx::Error> {
    if url.starts_with("postgres") {
        let mut connection = PgConnection::connect(url).await?;
        for sql in statements {
            connection.execute(AssertSqlSafe((*sql).to_owned())).await?;
        }
    } else {
        let mut connection = MySqlConnection::connect(url).await?;
        for sql in statements {
            connection.execute(sqlx::raw_sql(AssertSqlSafe((*sql).to_owned()))).await?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Postgres,
    MariaDb,
}

/// A server of the test's own.
struct Server {
    kind: Kind,
    folder: TempDir,
    /// Brooklet's, and the administrator's.
    url: String,
    admin: String,
}

impl Server {
    /// `None`: servers are not to be tested.
    async fn start(kind: Kind) -> Option<Self> {
        std::env::var("BROOKLET_TEST_SERVERS").ok().filter(|wanted| wanted == "1")?;
        let folder = TempDir::new().unwrap();
        let name = kind.name();
        script(&["start", folder.path().to_str().unwrap(), name]);
        let port = std::fs::read_to_string(folder.path().join(format!("{name}.port"))).unwrap();
        let port = port.trim();
        let (url, admin, home) = match kind {
            Kind::Postgres => {
                let base = format!("postgres://brooklet@127.0.0.1:{port}");
                (format!("{base}/brooklet"), format!("{base}/brooklet"), format!("{base}/postgres"))
            }
            Kind::MariaDb => {
                let at = format!("127.0.0.1:{port}");
                let admin = format!("mysql://admin@{at}");
                let url = format!("mysql://brooklet@{at}/brooklet");
                (url, format!("{admin}/brooklet"), format!("{admin}/mysql"))
            }
        };
        run(&home, &["CREATE DATABASE brooklet"]).await.unwrap();
        Some(Self { kind, folder, url, admin })
    }

    fn kill(&self) {
        script(&["kill", self.folder.path().to_str().unwrap(), self.kind.name()]);
    }

    fn run_again(&self) {
        script(&["run", self.folder.path().to_str().unwrap(), self.kind.name()]);
    }

    async fn sql(&self, postgres: &[&str], mariadb: &[&str]) {
        let statements = if self.kind == Kind::Postgres { postgres } else { mariadb };
        run(&self.admin, statements).await.unwrap();
    }

    /// What is stored: (device, event time) and value.
    async fn stored(&self) -> BTreeMap<(String, i64), f64> {
        let key = if self.kind == Kind::Postgres { "d.key" } else { "d.`key`" };
        let sql = AssertSqlSafe(format!(
            "SELECT {key}, r.event_time, r.value FROM reading r \
             JOIN sensor s ON s.id = r.sensor_id JOIN device d ON d.id = s.device_id"
        ));
        let rows: Vec<(String, i64, f64)> = if self.kind == Kind::Postgres {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            let rows = connection.fetch_all(sqlx::query(sql)).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
        } else {
            let mut connection = MySqlConnection::connect(&self.url).await.unwrap();
            let rows = connection.fetch_all(sqlx::query(sql)).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
        };
        let count = rows.len();
        let stored: BTreeMap<_, _> =
            rows.into_iter().map(|(device, time, value)| ((device, time), value)).collect();
        assert_eq!(stored.len(), count, "stored twice");
        stored
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script(&["stop", self.folder.path().to_str().unwrap()]);
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadb",
        }
    }
}

fn script(arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/databases");
    let output = Command::new(path).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
}

/// Of every kind of trouble: nothing is acknowledged, health and a counter say so, and all is stored
/// when it is over.
async fn troubles(kind: Kind) {
    let Some(server) = Server::start(kind).await else { return };
    let mut brooklet =
        Brooklet::with(&[("DATABASE__URL", &server.url), ("DATABASE__TIMEOUT", "2s")]).await;
    brooklet.may_log_errors();
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 0, "ts": 1790000000}"#).await;

    server
        .sql(
            &["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"],
            &["SET GLOBAL read_only = 1"],
        )
        .await;
    let first = withheld(&brooklet, &mut device, 1).await;
    server
        .sql(
            &[
                "SET default_transaction_read_only = off",
                "ALTER SYSTEM RESET default_transaction_read_only",
                "SELECT pg_reload_conf()",
            ],
            &["SET GLOBAL read_only = 0"],
        )
        .await;
    granted(&mut device, first).await;

    server
        .sql(
            &[
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END $$",
                "CREATE TRIGGER trouble BEFORE INSERT ON reading FOR EACH ROW \
                 EXECUTE FUNCTION full_disk()",
            ],
            &["CREATE TRIGGER trouble BEFORE INSERT ON reading FOR EACH ROW \
               SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021, MESSAGE_TEXT = 'disk full'"],
        )
        .await;
    let second = withheld(&brooklet, &mut device, 2).await;
    server.sql(&["DROP TRIGGER trouble ON reading"], &["DROP TRIGGER trouble"]).await;
    granted(&mut device, second).await;

    server
        .sql(
            &[
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN PERFORM pg_sleep(6); RETURN NEW; END $$",
                "CREATE TRIGGER trouble BEFORE INSERT ON reading FOR EACH ROW \
                 EXECUTE FUNCTION slow()",
            ],
            &["CREATE TRIGGER trouble BEFORE INSERT ON reading FOR EACH ROW \
               SET @slept = SLEEP(6)"],
        )
        .await;
    let third = withheld(&brooklet, &mut device, 3).await;
    server.sql(&["DROP TRIGGER trouble ON reading"], &["DROP TRIGGER trouble"]).await;
    granted(&mut device, third).await;

    server.kill();
    let fourth = withheld(&brooklet, &mut device, 4).await;
    server.run_again();
    granted(&mut device, fourth).await;
    device.publish("devices/d/data", r#"{"t": 5, "ts": 1790000005}"#).await;
    let values: Vec<f64> = server.stored().await.into_values().collect();
    assert_eq!(values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let health = brooklet.request(Method::GET, "/health", None).await;
    assert_eq!(health.status, 200, "{}", health.text);
}

/// Publishes a reading that is not acknowledged; its packet id.
async fn withheld(brooklet: &Brooklet, device: &mut crate::wire::Client, n: i64) -> u16 {
    let failures = failures(brooklet).await;
    let id = device.next_id();
    let payload = format!(r#"{{"t": {n}, "ts": {}}}"#, 1_790_000_000 + n);
    let packet = device.publish_packet(0x32, "devices/d/data", id, payload.as_bytes());
    device.send(&packet).await;
    assert!(device.quiet_for(Duration::from_millis(400)).await, "trouble {n}: acknowledged");
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    while self::failures(brooklet).await == failures {
        assert!(std::time::Instant::now() < deadline, "trouble {n}: no counter tells of it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let health = brooklet.request(Method::GET, "/health", None).await;
    assert_eq!(health.status, 503, "trouble {n}: {}", health.text);
    id
}

async fn failures(brooklet: &Brooklet) -> f64 {
    brooklet.metric("brooklet_store_errors_total{kind=\"unavailable\"}").await
}

async fn granted(device: &mut crate::wire::Client, id: u16) {
    let acked = device.ack().await;
    assert_eq!((acked.id, acked.reason), (id, 0));
}

/// Brooklet and the server are killed by turns; what was acknowledged is there, once.
async fn crashes(kind: Kind) {
    let Some(server) = Server::start(kind).await else { return };
    let mut brooklet = Brooklet::with(&[("DATABASE__URL", &server.url)]).await;
    let acknowledged = Acknowledged::default();
    for round in 0..rounds() * 2 {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let (address, acknowledged) = (brooklet.mqtt, acknowledged.clone());
                tokio::spawn(publish_until_dead(address, publisher, round, acknowledged))
            })
            .collect();
        let moment = Duration::from_millis(50 + (round * 7919 + 13) % 250);
        tokio::time::sleep(moment).await;
        if round % 2 == 1 {
            server.kill();
            server.run_again();
            // Some of what follows is to be acknowledged again.
            tokio::time::sleep(moment).await;
        }
        brooklet.kill();
        for publisher in publishers {
            publisher.await.unwrap();
        }
        brooklet = brooklet.restart().await;
        let stored = server.stored().await;
        for (key, value) in acknowledged.lock().unwrap().iter() {
            assert_eq!(stored.get(key), Some(value), "{key:?} was acknowledged, round {round}");
        }
    }
    assert!(acknowledged.lock().unwrap().len() as u64 > rounds());
}

/// A server that could lose what it has committed is refused, unless that is what is wanted.
async fn carelessness(kind: Kind) {
    let Some(server) = Server::start(kind).await else { return };
    server
        .sql(
            &["ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()"],
            &["SET GLOBAL innodb_flush_log_at_trx_commit = 2"],
        )
        .await;
    let folder = TempDir::new().unwrap();
    let output = command(folder.path())
        .arg("migrate")
        .env("BROOKLET__DATABASE__URL", &server.url)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(told.contains("database.require_durability = false"), "{told}");
    let output = command(folder.path())
        .arg("migrate")
        .env("BROOKLET__DATABASE__URL", &server.url)
        .env("BROOKLET__DATABASE__REQUIRE_DURABILITY", "false")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_in_trouble_costs_nothing_that_was_acknowledged() {
    troubles(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_in_trouble_costs_nothing_that_was_acknowledged() {
    troubles(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_reading_outlives_postgresql_and_brooklet() {
    crashes(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_reading_outlives_mariadb_and_brooklet() {
    crashes(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_careless_postgresql_is_refused() {
    carelessness(Kind::Postgres).await;
}

#[tokio::test]
async fn a_careless_mariadb_is_refused() {
    carelessness(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_in_a_sentence_without_the_password() {
    for scheme in ["postgres", "mysql"] {
        let folder = TempDir::new().unwrap();
        let output = command(folder.path())
            .arg("migrate")
            .env("BROOKLET__DATABASE__URL", format!("{scheme}://ann:s3cret@127.0.0.1:1/brooklet"))
            .env("BROOKLET__DATABASE__STARTUP_TIMEOUT", "600ms")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        let where_it_is = format!("can't reach the database {scheme}://ann@127.0.0.1:1/brooklet");
        assert!(told.contains(&where_it_is), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
        let shown = command(folder.path())
            .args(["config", "print"])
            .env("BROOKLET__DATABASE__URL", format!("{scheme}://ann:s3cret@127.0.0.1:1/brooklet"))
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(
            shown.contains(&format!("{scheme}://ann:")) && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
