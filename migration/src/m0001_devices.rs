//! Devices and their sensors.

use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::MySql {
            manager.get_connection().execute_unprepared(TEXTS).await?;
        }
        manager.create_table(device()).await?;
        manager.create_table(sensor()).await?;
        let unique_name = Index::create()
            .name("sensor_device_id_name")
            .table("sensor")
            .col("device_id")
            .col("name")
            .unique()
            .to_owned();
        manager.create_index(unique_name).await
    }
}

/// Texts are told apart as elsewhere: by case, accents and spaces at their end.
const TEXTS: &str = "ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin";

fn device() -> TableCreateStatement {
    Table::create()
        .table("device")
        .col(big_pk_auto("id"))
        .col(string_len_uniq("key", 64))
        .col(string_len_null("name", 200))
        .col(string_len("kind", 16))
        .col(string_len_null("gateway", 64))
        .col(string_len_null("status", 200))
        .col(string_len_null("firmware", 200))
        .col(string_len_null("ip", 64))
        .col(big_integer_null("uptime_seconds"))
        .col(double_null("latitude"))
        .col(double_null("longitude"))
        .col(text("labels"))
        .col(big_integer("first_seen"))
        .col(big_integer_null("last_seen"))
        .col(big_integer_null("last_heartbeat"))
        .col(boolean("online"))
        .col(text_null("last_report"))
        .col(string_len("approval", 16))
        .col(big_integer("version"))
        .to_owned()
}

fn sensor() -> TableCreateStatement {
    Table::create()
        .table("sensor")
        .col(big_pk_auto("id"))
        .col(big_integer("device_id"))
        .col(string_len("name", 50))
        .col(string_len_null("display_name", 200))
        .col(string_len_null("type", 50))
        .col(string_len_null("unit", 20))
        .col(string_len_null("location", 200))
        .col(double_null("min"))
        .col(double_null("max"))
        .col(boolean("active"))
        .col(big_integer("created_at"))
        .foreign_key(
            ForeignKey::create()
                .from("sensor", "device_id")
                .to("device", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}
