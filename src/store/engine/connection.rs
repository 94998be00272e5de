//! The connection to a database server that the committer writes by: blocking, with a small runtime
//! of its own, so that a statement costs no switch to another thread.
//!
//! It is connected or not; whoever finds it broken drops it, and connects again. Nothing here knows
//! transactions: see `store::writer`.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Executor,
    mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlRow},
    postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow},
};
use tokio::runtime::{Builder, Runtime};

use super::{Bind, Dialect, Engine, Row};
use crate::store::StoreError;

/// Statements that stay prepared.
const STATEMENTS: usize = 256;

/// Where the server is, and who we are there.
#[derive(Debug, Clone)]
pub(in crate::store) enum Address {
    Postgres(PgConnectOptions),
    MariaDb(MySqlConnectOptions),
}

/// What went wrong, by what is to be done about it.
#[derive(Debug)]
pub(in crate::store) enum Failure {
    /// The values are at fault.
    Refused(String),
    /// The server can't do it at the moment; the connection goes on.
    Failed(String),
    /// The connection is gone, or answers too late: what was asked may have happened or not.
    Lost(String),
}

pub(super) enum Inner {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
}

enum Rows {
    Postgres(Vec<PgRow>),
    MariaDb(Vec<MySqlRow>),
}

pub(in crate::store) struct ServerConnection {
    address: Address,
    /// Dropped before the runtime is.
    pub(super) inner: Option<Inner>,
    pub(super) runtime: Option<Runtime>,
    /// By the place of their text, which is part of the program.
    dialects: HashMap<usize, Arc<Dialect>>,
    /// Partitions that are known to be there; forgotten with a transaction that may have made them.
    pub(in crate::store) partitions: HashSet<String>,
    /// No answer for so long: the connection is given up.
    pub(super) patience: Duration,
}

impl ServerConnection {
    pub(in crate::store) fn new(address: Address, patience: Duration) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let runtime = Some(runtime);
        let (inner, dialects, partitions) = (None, HashMap::new(), HashSet::new());
        Ok(Self { address, inner, runtime, dialects, partitions, patience })
    }

    pub(in crate::store) fn engine(&self) -> Engine {
        match self.address {
            Address::Postgres(_) => Engine::Postgres,
            Address::MariaDb(_) => Engine::MariaDb,
        }
    }

    pub(in crate::store) fn is_connected(&self) -> bool {
        self.inner.is_some()
    }

    pub(in crate::store) fn disconnect(&mut self) {
        // The runtime's context: a socket leaves it as it came.
        let _context = self.runtime.as_ref().map(Runtime::enter);
        self.inner = None;
        self.partitions.clear();
    }

    pub(in crate::store) fn connect(&mut self) -> Result<(), Failure> {
        self.disconnect();
        let address = self.address.clone();
        let connecting = async {
            Ok(match address {
                Address::Postgres(options) => {
                    let options = options.statement_cache_capacity(STATEMENTS);
                    Inner::Postgres(options.connect().await?)
                }
                Address::MariaDb(options) => {
                    let options = options.statement_cache_capacity(STATEMENTS);
                    Inner::MariaDb(options.connect().await?)
                }
            })
        };
        self.inner = Some(wait(self.runtime.as_ref(), self.patience, connecting)?);
        Ok(())
    }

    /// Runs statements that take no values, all in one go.
    pub(in crate::store) fn run(&mut self, sql: &str) -> Result<u64, Failure> {
        let runtime = self.runtime.as_ref();
        let statements = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let Some(inner) = &mut self.inner else { return Err(no_connection()) };
        let running = async {
            Ok(match inner {
                Inner::Postgres(connection) => {
                    connection.execute(statements).await?.rows_affected()
                }
                Inner::MariaDb(connection) => connection.execute(statements).await?.rows_affected(),
            })
        };
        let outcome = wait(runtime, self.patience, running);
        self.noted(outcome)
    }

    /// The same, with the rows that came.
    pub(in crate::store) fn run_query<T>(
        &mut self,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let runtime = self.runtime.as_ref();
        let statements = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let Some(inner) = &mut self.inner else { return Err(no_connection().into()) };
        let running = async {
            Ok(match inner {
                Inner::Postgres(connection) => {
                    Rows::Postgres(connection.fetch_all(statements).await?)
                }
                Inner::MariaDb(connection) => {
                    Rows::MariaDb(connection.fetch_all(statements).await?)
                }
            })
        };
        let outcome = wait(runtime, self.patience, running);
        self.noted(outcome)?.read(read)
    }

    pub(in crate::store) fn execute(
        &mut self,
        sql: &'static str,
        values: &[Bind<'_>],
    ) -> Result<u64, Failure> {
        let (dialect, runtime) = (self.dialect(sql), self.runtime.as_ref());
        let text = AssertSqlSafe(dialect.shared_text());
        let Some(inner) = &mut self.inner else { return Err(no_connection()) };
        let running = async {
            Ok(match inner {
                Inner::Postgres(connection) => {
                    let query = sqlx::query_with(text, postgres_values(values)?);
                    connection.execute(query).await?.rows_affected()
                }
                Inner::MariaDb(connection) => {
                    let query = sqlx::query_with(text, mariadb_values(&dialect, values)?);
                    connection.execute(query).await?.rows_affected()
                }
            })
        };
        let outcome = wait(runtime, self.patience, running);
        self.noted(outcome)
    }

    pub(in crate::store) fn query<T>(
        &mut self,
        sql: &'static str,
        values: &[Bind<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let (dialect, runtime) = (self.dialect(sql), self.runtime.as_ref());
        let text = AssertSqlSafe(dialect.shared_text());
        let Some(inner) = &mut self.inner else { return Err(no_connection().into()) };
        let running = async {
            Ok(match inner {
                Inner::Postgres(connection) => {
                    let query = sqlx::query_with(text, postgres_values(values)?);
                    Rows::Postgres(connection.fetch_all(query).await?)
                }
                Inner::MariaDb(connection) => {
                    let query = sqlx::query_with(text, mariadb_values(&dialect, values)?);
                    Rows::MariaDb(connection.fetch_all(query).await?)
                }
            })
        };
        let outcome = wait(runtime, self.patience, running);
        self.noted(outcome)?.read(read)
    }

    /// A connection that is lost is given up at once.
    fn noted<T>(&mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if matches!(outcome, Err(Failure::Lost(_))) {
            self.disconnect();
        }
        outcome
    }

    fn dialect(&mut self, sql: &'static str) -> Arc<Dialect> {
        let engine = self.engine();
        let place = sql.as_ptr().addr();
        self.dialects.entry(place).or_insert_with(|| Arc::new(Dialect::of(engine, sql))).clone()
    }
}

impl Drop for ServerConnection {
    fn drop(&mut self) {
        self.disconnect();
        // Waits for nothing: it may be dropped where nothing may block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Rows {
    fn read<T>(
        self,
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Postgres(rows) => rows.iter().map(|row| read(&Row::Postgres(row))).collect(),
            Self::MariaDb(rows) => rows.iter().map(|row| read(&Row::MariaDb(row))).collect(),
        }
    }
}

fn postgres_values(values: &[Bind<'_>]) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        value.add_to_postgres(&mut arguments).map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn mariadb_values(dialect: &Dialect, values: &[Bind<'_>]) -> Result<MySqlArguments, sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    for at in dialect.order().unwrap_or_default() {
        let value =
            values.get(*at).ok_or_else(|| sqlx::Error::Encode("a value is missing".into()))?;
        value.add_to_mariadb(&mut arguments).map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

pub(super) fn wait<T>(
    runtime: Option<&Runtime>,
    patience: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Failure> {
    let Some(runtime) = runtime else { return Err(no_connection()) };
    // The timer is made within: it needs the runtime's context.
    let outcome = runtime.block_on(async { tokio::time::timeout(patience, work).await });
    match outcome {
        Ok(result) => result.map_err(Failure::from),
        Err(_) => Err(Failure::Lost(format!("no answer for {} s", patience.as_secs()))),
    }
}

fn no_connection() -> Failure {
    Failure::Lost("there is no connection".to_owned())
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) => {
                let state = inner.code().unwrap_or_default();
                match state.get(..2).unwrap_or_default() {
                    // Data, constraints, limits of the program.
                    "22" | "23" | "54" => Self::Refused(inner.to_string()),
                    // Connections, shut-downs.
                    "08" | "57" => Self::Lost(inner.to_string()),
                    _ => Self::Failed(inner.to_string()),
                }
            }
            sqlx::Error::Encode(_) => Self::Refused(error.to_string()),
            _ => Self::Lost(error.to_string()),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(why) => Self::Rejected(why),
            Failure::Failed(why) | Failure::Lost(why) => Self::Unavailable(why),
        }
    }
}
