//! What the MQTT broker keeps: sessions that outlive their connection with what they subscribed to
//! and are owed, retained messages, wills that are not said yet.

use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let clustered = |mut table: TableCreateStatement| {
            if backend == DbBackend::Sqlite {
                table.extra("WITHOUT ROWID");
            }
            table
        };
        manager.create_table(session()).await?;
        let is_mariadb = backend == DbBackend::MySql;
        manager.create_table(clustered(subscription(is_mariadb))).await?;
        manager.create_table(message()).await?;
        manager.create_table(clustered(queue())).await?;
        manager.create_table(clustered(unreleased())).await?;
        manager.create_table(retained(is_mariadb)).await?;
        if is_mariadb {
            manager.get_connection().execute_unprepared(LONG_KEYS).await?;
        }
        manager.create_table(will()).await
    }
}

/// Topics can be longer than MariaDB's keys: their digests stand for them.
const LONG_KEYS: &str = "ALTER TABLE mqtt_subscription MODIFY filter LONGTEXT NOT NULL, \
    ADD COLUMN filter_hash BINARY(32) AS (UNHEX(SHA2(filter, 256))) PERSISTENT, \
    ADD UNIQUE KEY mqtt_subscription_key (session_id, filter_hash); \
    ALTER TABLE mqtt_retained MODIFY topic LONGTEXT NOT NULL, \
    ADD COLUMN topic_hash BINARY(32) AS (UNHEX(SHA2(topic, 256))) PERSISTENT, \
    ADD UNIQUE KEY mqtt_retained_key (topic_hash), ADD KEY mqtt_retained_topic (topic(255))";

fn big_key(name: &'static str) -> ColumnDef {
    big_integer(name).primary_key().to_owned()
}

fn session() -> TableCreateStatement {
    Table::create()
        .table("mqtt_session")
        .col(big_key("id"))
        .col(string_len("client_id", 256))
        .col(string_len_null("user_name", 256))
        .col(big_integer("expiry"))
        .col(big_integer_null("expires_at"))
        .col(big_integer("sent_to"))
        .to_owned()
}

fn subscription(is_mariadb: bool) -> TableCreateStatement {
    let mut table = Table::create();
    table
        .table("mqtt_subscription")
        .col(big_integer("session_id"))
        .col(text("filter"))
        .col(integer("options"))
        .col(big_integer_null("identifier"))
        .col(boolean("replays"))
        .col(text_null("replayed_to"));
    if !is_mariadb {
        table.primary_key(Index::create().col("session_id").col("filter"));
    }
    table
}

/// What every kept message has beside its topic.
fn with_message(mut table: TableCreateStatement) -> TableCreateStatement {
    table
        .col(blob("payload"))
        .col(blob("properties"))
        .col(integer("qos"))
        .col(boolean("retain"))
        .col(boolean("is_utf8"))
        .to_owned()
}

fn message() -> TableCreateStatement {
    let mut table = Table::create();
    table.table("mqtt_message").col(big_key("id")).col(text("topic"));
    with_message(table.to_owned())
        .col(big_integer("received_at"))
        .col(big_integer_null("expires_at"))
        .to_owned()
}

fn retained(is_mariadb: bool) -> TableCreateStatement {
    let mut table = Table::create();
    let topic = if is_mariadb { text("topic") } else { text("topic").primary_key().to_owned() };
    table.table("mqtt_retained").col(topic);
    with_message(table.to_owned())
        .col(big_integer("received_at"))
        .col(big_integer_null("expires_at"))
        .to_owned()
}

fn queue() -> TableCreateStatement {
    Table::create()
        .table("mqtt_queue")
        .col(big_integer("session_id"))
        .col(big_integer("position"))
        .col(big_integer("message_id"))
        .col(integer("packet_id"))
        .col(integer("qos"))
        .col(boolean("retain"))
        .col(integer("stage"))
        .col(text_null("identifiers"))
        .col(text_null("share"))
        .primary_key(Index::create().col("session_id").col("position"))
        .to_owned()
}

fn unreleased() -> TableCreateStatement {
    Table::create()
        .table("mqtt_unreleased")
        .col(big_integer("session_id"))
        .col(integer("packet_id"))
        .primary_key(Index::create().col("session_id").col("packet_id"))
        .to_owned()
}

fn will() -> TableCreateStatement {
    let mut table = Table::create();
    table
        .table("mqtt_will")
        .col(big_key("id"))
        .col(big_integer("session_id"))
        .col(string_len("client_id", 256))
        .col(string_len_null("user_name", 256))
        .col(text("topic"));
    with_message(table.to_owned())
        .col(big_integer("delay"))
        .col(big_integer_null("message_expiry"))
        .col(big_integer_null("due_at"))
        .to_owned()
}
