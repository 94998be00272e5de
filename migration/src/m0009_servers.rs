//! What only servers need: the number of the committer's last batch, and columns that take as much as
//! SQLite's do.

use std::collections::BTreeMap;

use sea_orm_migration::{
    prelude::*,
    schema::*,
    sea_orm::{DbBackend, Statement},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Sqlite {
            return Ok(());
        }
        let mark = Table::create()
            .table("writer_mark")
            .col(integer("id").primary_key().to_owned())
            .col(big_integer("number"))
            .to_owned();
        manager.create_table(mark).await?;
        let first = "INSERT INTO writer_mark (id, number) VALUES (1, 0)";
        manager.get_connection().execute_unprepared(first).await?;
        widen(manager).await
    }
}

/// Of every column whether it may be NULL, and its type without a bound. What is part of a key of
/// MariaDB's keeps its bound.
const BOUNDED_POSTGRES: &str = "SELECT table_name::text AS tab, column_name::text AS col, \
    'text' AS type FROM information_schema.columns WHERE table_schema = current_schema() \
    AND data_type = 'character varying' AND table_name <> 'seaql_migrations'";
const BOUNDED_MARIADB: &str = "SELECT CONVERT(c.table_name USING utf8mb4) AS tab, \
    CONVERT(c.column_name USING utf8mb4) AS col, CONCAT(IF(c.data_type LIKE '%blob', 'LONGBLOB', \
    'LONGTEXT'), IF(c.is_nullable = 'YES', ' NULL', ' NOT NULL')) AS type \
    FROM information_schema.columns c WHERE c.table_schema = DATABASE() \
    AND c.data_type IN ('varchar', 'text', 'blob') AND c.table_name <> 'seaql_migrations' \
    AND NOT EXISTS (SELECT 1 FROM information_schema.statistics s WHERE s.table_schema = c.table_schema \
    AND s.table_name = c.table_name AND s.column_name = c.column_name)";

/// Takes the bounds from columns of text and bytes.
///
/// # Errors
/// When the database does not answer.
pub async fn widen(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let (backend, connection) = (manager.get_database_backend(), manager.get_connection());
    let bounded = match backend {
        DbBackend::Postgres => BOUNDED_POSTGRES,
        DbBackend::MySql => BOUNDED_MARIADB,
        _ => return Ok(()),
    };
    // One statement a table: MariaDB writes the table anew for each.
    let mut changes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in connection.query_all_raw(Statement::from_string(backend, bounded)).await? {
        let (table, column): (String, String) = (row.try_get("", "tab")?, row.try_get("", "col")?);
        let kind: String = row.try_get("", "type")?;
        changes.entry(table).or_default().push(match backend {
            DbBackend::MySql => format!("MODIFY `{column}` {kind}"),
            _ => format!("ALTER COLUMN \"{column}\" TYPE {kind}"),
        });
    }
    for (table, changes) in changes {
        let table = match backend {
            DbBackend::MySql => format!("`{table}`"),
            _ => format!("\"{table}\""),
        };
        let sql = format!("ALTER TABLE {table} {}", changes.join(", "));
        connection.execute_unprepared(&sql).await?;
    }
    Ok(())
}
