//! Opening a database on a server: where it is, the lock, the schema, the pools.

use std::{str::FromStr, sync::Arc, time::Duration};

use migration::{Migrator, MigratorTrait};
use sea_orm::{DatabaseConnection, SqlxMySqlConnector, SqlxPostgresConnector};
use sqlx::{
    ConnectOptions, Executor,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{sync::Mutex, task::spawn_blocking, time};
use url::Url;

use super::{
    Engine, Place, Store, StoreError,
    engine::{Address, ServerConnection},
    moving::refuse_unfinished,
    open::refuse_newer,
    readings::Rolled,
    writer::{Demands, Session},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// `postgres://…` or `mysql://…`, with the password if there is one.
    pub url: String,
    /// Connections that only read.
    pub readers: u32,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// How long a server that is not there is waited for at start.
    pub startup_timeout: Duration,
    /// Whether the schema is brought up to date; else one that is not is refused.
    pub migrates: bool,
    /// A server that may lose what it has committed is refused.
    pub requires_durability: bool,
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUrl(String);

const RETRY: Duration = Duration::from_millis(500);
const READ_ONLY_MARIADB: &str = "SET SESSION TRANSACTION READ ONLY";

/// Whether an address can be understood.
///
/// # Errors
/// What is wrong with it; the password is not told.
pub fn check_url(url: &str) -> Result<(), InvalidUrl> {
    address(url, Duration::ZERO).map(drop)
}

impl Store {
    /// Opens the database of a server; its schema is brought up to date, or has to be.
    ///
    /// # Errors
    /// When the server is not there or refuses, when another Brooklet uses the database, when its schema
    /// is newer (or older, and not to be changed), when it could lose what it has committed.
    pub async fn connect(settings: &ServerSettings) -> Result<Self, StoreError> {
        let failed =
            |error: InvalidUrl| StoreError::Open { path: String::new(), source: error.into() };
        let address = address(&settings.url, settings.timeout).map_err(failed)?;
        let shown: Arc<str> = shown(&settings.url).into();
        let mut session = session(settings, &address, &shown).await?;
        let seldom = pool(&address, 1, settings, false);
        let engine = match &address {
            Address::Postgres(_) => Engine::Postgres,
            Address::MariaDb(_) => Engine::MariaDb,
        };
        refuse_newer(engine, &seldom).await?;
        refuse_unfinished(engine, &seldom).await?;
        let opened = |source: sea_orm::DbErr| StoreError::Open {
            path: shown.to_string(),
            source: source.into(),
        };
        if settings.migrates {
            Migrator::up(&seldom, None).await.map_err(opened)?;
        } else {
            let pending = Migrator::get_pending_migrations(&seldom).await.map_err(opened)?;
            if !pending.is_empty() {
                let names: Vec<_> = pending.iter().map(|migration| migration.name()).collect();
                return Err(StoreError::OlderSchema(names.join(", ")));
            }
        }
        let signals = session.signals();
        let session = spawn_blocking(move || session.start().map(|()| session));
        let session = session.await.map_err(|_| stopped())??;
        // Under the lock, which keeps what is stored as it is.
        let rolled = Rolled::load(engine, &seldom).await?;
        Ok(Self {
            readers: pool(&address, settings.readers.max(1), settings, true),
            seldom,
            gate: Arc::new(Mutex::new(())),
            engine,
            place: Place::Server {
                shown,
                settings: Arc::new(settings.clone()),
                session: Arc::new(parking_lot::Mutex::new(Some(Box::new(session)))),
                signals,
                rolled: Arc::new(rolled),
            },
        })
    }
}

/// A connection that only reads and takes no lock, beside whoever has the database.
pub(super) fn looking(
    settings: &ServerSettings,
) -> Result<(Engine, DatabaseConnection), StoreError> {
    let failed = |error: InvalidUrl| StoreError::Open { path: String::new(), source: error.into() };
    let address = address(&settings.url, settings.timeout).map_err(failed)?;
    let engine = match &address {
        Address::Postgres(_) => Engine::Postgres,
        Address::MariaDb(_) => Engine::MariaDb,
    };
    Ok((engine, pool(&address, 1, settings, true)))
}

/// The connection that holds the lock, once the server is there.
async fn session(
    settings: &ServerSettings,
    address: &Address,
    shown: &Arc<str>,
) -> Result<Session, StoreError> {
    let demands = Demands { requires_durability: settings.requires_durability };
    let mut waited = Duration::ZERO;
    loop {
        let (address, shown, timeout) = (address.clone(), shown.clone(), settings.timeout);
        let opening = spawn_blocking(move || {
            let connection = ServerConnection::new(address, timeout);
            let connection = connection.map_err(|error| StoreError::Open {
                path: shown.to_string(),
                source: error.into(),
            })?;
            Session::open(connection, demands, &shown)
        });
        match opening.await.map_err(|_| stopped())? {
            Err(StoreError::Away { path, source }) if waited < settings.startup_timeout => {
                if waited.is_zero() {
                    tracing::warn!(database = path, why = %source, "the database is not there yet");
                }
                time::sleep(RETRY).await;
                waited += RETRY;
            }
            opened => return opened,
        }
    }
}

/// Connects when it is first used, and again when a connection has broken.
fn pool(
    address: &Address,
    connections: u32,
    settings: &ServerSettings,
    read_only: bool,
) -> DatabaseConnection {
    match address.clone() {
        Address::Postgres(options) => {
            let options = match read_only {
                true => options.options([("default_transaction_read_only", "on")]),
                false => options,
            };
            let pool = PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(settings.timeout)
                .connect_lazy_with(options);
            SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
        }
        Address::MariaDb(options) => {
            let pool = MySqlPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(settings.timeout)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        if read_only {
                            connection.execute(READ_ONLY_MARIADB).await?;
                        }
                        Ok(())
                    })
                })
                .connect_lazy_with(options);
            SqlxMySqlConnector::from_sqlx_mysql_pool(pool)
        }
    }
}

pub(super) fn address(url: &str, timeout: Duration) -> Result<Address, InvalidUrl> {
    let parsed = Url::parse(url).map_err(|error| InvalidUrl(error.to_string()))?;
    if parsed.path().trim_matches('/').is_empty() {
        return Err(InvalidUrl("it names no database, as in postgres://host/brooklet".to_owned()));
    }
    let invalid = |error: sqlx::Error| InvalidUrl(error.to_string());
    match parsed.scheme() {
        "postgres" | "postgresql" => {
            let options = PgConnectOptions::from_str(url).map_err(invalid)?;
            let limit = format!("{}ms", timeout.as_millis());
            let options = options
                .application_name("brooklet")
                .options([("statement_timeout", limit.as_str()), ("synchronize_seqscans", "off")]);
            Ok(Address::Postgres(options.disable_statement_logging()))
        }
        "mysql" | "mariadb" => {
            let url = url.replacen("mariadb://", "mysql://", 1);
            let options = MySqlConnectOptions::from_str(&url).map_err(invalid)?;
            // The columns' own: what is compared with one takes its collation anyway.
            let options = options.charset("utf8mb4").collation("utf8mb4_nopad_bin");
            Ok(Address::MariaDb(options.disable_statement_logging()))
        }
        other => Err(InvalidUrl(format!("{other}:// is no kind of database that is known"))),
    }
}

/// What an address says of the engine.
pub(super) fn engine_of(url: &str) -> Engine {
    if url.starts_with("postgres") { Engine::Postgres } else { Engine::MariaDb }
}

/// An address without its password.
pub(super) fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "the database server".to_owned() };
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the process ends".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let url =
            "postgres://ann:se%20cret@db.example:5433/brooklet?password=other&sslmode=require";
        assert_eq!(shown(url), "postgres://ann@db.example:5433/brooklet");
        assert_eq!(shown("not a url"), "the database server");
    }

    #[test]
    fn an_address_has_a_known_scheme_and_a_database() {
        let wrong = |url| check_url(url).unwrap_err().to_string();
        assert_eq!(wrong("oracle://h/d"), "oracle:// is no kind of database that is known");
        assert!(wrong("postgres://h").contains("names no database"));
        assert!(check_url("mysql://u:p@h:3307/d?ssl-mode=VERIFY_IDENTITY").is_ok());
        assert!(check_url("mariadb://h/d").is_ok());
        assert!(check_url("postgresql://h/d?sslmode=verify-full&sslrootcert=/ca.pem").is_ok());
    }
}
