//! What ingest keeps beside readings: refused messages, messages of devices that wait for approval,
//! and which QoS 1 and 2 messages of persistent sessions are stored already.

use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(quarantine()).await?;
        manager.create_index(index("quarantine", "device", "id")).await?;
        manager.create_table(device_hold()).await?;
        manager.create_index(index("device_hold", "device_id", "id")).await?;
        let mut inbound = Table::create()
            .table("mqtt_inbound")
            .col(string_len("client_id", 256))
            .col(integer("packet_id"))
            .col(binary_len("payload_hash", 16))
            .col(big_integer("stored_at"))
            .primary_key(Index::create().col("client_id").col("packet_id"))
            .to_owned();
        if manager.get_database_backend() == DbBackend::Sqlite {
            inbound.extra("WITHOUT ROWID");
        }
        manager.create_table(inbound).await
    }
}

fn index(table: &'static str, first: &'static str, second: &'static str) -> IndexCreateStatement {
    Index::create()
        .name(format!("{table}_{first}_{second}"))
        .table(table)
        .col(first)
        .col(second)
        .to_owned()
}

fn quarantine() -> TableCreateStatement {
    Table::create()
        .table("quarantine")
        .col(big_pk_auto("id"))
        .col(big_integer("received_at"))
        .col(string_len("source", 16))
        .col(text("topic"))
        .col(string_len_null("client_id", 256))
        .col(string_len_null("device", 64))
        .col(string_len("reason", 50))
        .col(text("detail"))
        .col(blob("payload"))
        .col(big_integer("attempts"))
        .to_owned()
}

fn device_hold() -> TableCreateStatement {
    Table::create()
        .table("device_hold")
        .col(big_pk_auto("id"))
        .col(big_integer("device_id"))
        .col(big_integer("received_at"))
        .col(string_len("source", 16))
        .col(text("topic"))
        .col(blob("payload"))
        .foreign_key(
            ForeignKey::create()
                .from("device_hold", "device_id")
                .to("device", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}
