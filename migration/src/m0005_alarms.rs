//! Alarm rules with their versions, alarms with what happened to them, the outbox of notifications
//! with its targets and silences, and when the broker ran.
//!
//! No foreign keys: an alarm outlives the rule that raised it, and a notification its alarm.

use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            rule(),
            rule_version(),
            alarm(),
            event(),
            notification(),
            target(),
            silence(),
            broker_run(),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        let indexes = [
            index("alarm", &["closed", "changed_at"]),
            index("alarm", &["closed", "raised_at"]),
            index("alarm", &["raised_at"]),
            index("alarm", &["device", "raised_at"]),
            index("alarm", &["rule_id", "device", "sensor_id"]),
            index("alarm_event", &["alarm_id", "id"]),
            index("alarm_event", &["kind", "at"]),
            index("notification", &["state", "created_at"]),
            index("notification", &["state", "target", "id", "not_before"]),
            index("notification", &["alarm_id", "state", "target", "not_before"]),
        ];
        for index in indexes {
            manager.create_index(index).await?;
        }
        // MySQL and MariaDB have no partial indexes; there the alarm room alone sees to it.
        if manager.get_database_backend() != DbBackend::MySql {
            manager.get_connection().execute_unprepared(ONE_OPEN).await?;
        }
        Ok(())
    }
}

/// Of a rule and an originator one alarm is open at a time.
const ONE_OPEN: &str = "CREATE UNIQUE INDEX alarm_one_open ON alarm \
    (rule_id, device, coalesce(sensor_id, 0)) WHERE NOT closed";

fn index(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(format!("{table}_{}", columns.join("_"))).table(table);
    for column in columns {
        index.col(*column);
    }
    index
}

fn rule() -> TableCreateStatement {
    Table::create()
        .table("alarm_rule")
        .col(big_pk_auto("id"))
        .col(string_len_uniq("name", 200))
        .col(boolean("enabled"))
        .col(boolean("provisioned"))
        .col(big_integer("version"))
        .col(text("body"))
        .col(big_integer("created_at"))
        .col(big_integer("updated_at"))
        .to_owned()
}

fn rule_version() -> TableCreateStatement {
    Table::create()
        .table("alarm_rule_version")
        .col(big_integer("rule_id"))
        .col(big_integer("version"))
        .col(text("body"))
        .col(big_integer("created_at"))
        .col(string_len_null("author", 200))
        .primary_key(Index::create().col("rule_id").col("version"))
        .to_owned()
}

fn alarm() -> TableCreateStatement {
    Table::create()
        .table("alarm")
        .col(big_integer("id").primary_key())
        .col(big_integer("rule_id"))
        .col(big_integer("rule_version"))
        .col(string_len("rule_name", 200))
        .col(string_len("device", 64))
        .col(big_integer_null("sensor_id"))
        .col(string_len_null("sensor", 50))
        .col(small_integer("severity"))
        .col(small_integer("highest_severity"))
        .col(boolean("active"))
        .col(boolean("acknowledged"))
        .col(boolean("latched"))
        .col(big_integer_null("shelved_until"))
        .col(boolean("suppressed"))
        .col(boolean("out_of_service"))
        .col(boolean("closed"))
        .col(big_integer("raised_at"))
        .col(big_integer_null("cleared_at"))
        .col(big_integer("changed_at"))
        .col(big_integer("arrival"))
        .col(big_integer_null("acknowledged_at"))
        .col(string_len_null("acknowledged_by", 200))
        .col(text_null("note"))
        .col(double_null("value"))
        .col(big_integer_null("event_time"))
        .col(double_null("peak"))
        .col(big_integer("occurrences"))
        .col(text("levels"))
        .col(text("message"))
        .col(text("labels"))
        .col(big_integer_null("last_notified_at"))
        .col(boolean("notified"))
        .to_owned()
}

fn event() -> TableCreateStatement {
    Table::create()
        .table("alarm_event")
        .col(big_pk_auto("id"))
        .col(big_integer("alarm_id"))
        .col(string_len("kind", 32))
        .col(big_integer("at"))
        .col(big_integer("arrival"))
        .col(small_integer("severity"))
        .col(double_null("value"))
        .col(big_integer_null("event_time"))
        .col(string_len_null("actor", 200))
        .col(text_null("note"))
        .to_owned()
}

fn notification() -> TableCreateStatement {
    Table::create()
        .table("notification")
        .col(big_pk_auto("id"))
        .col(string_len_uniq("key", 255))
        .col(big_integer_null("alarm_id"))
        .col(big_integer_null("event_id"))
        .col(string_len("target", 200))
        .col(string_len("channel", 32))
        .col(string_len("kind", 16))
        .col(text("group_key"))
        .col(text("body"))
        .col(string_len("state", 16))
        .col(integer("attempts"))
        .col(big_integer("not_before"))
        .col(big_integer("created_at"))
        .col(big_integer_null("sent_at"))
        .col(text_null("error"))
        .to_owned()
}

fn target() -> TableCreateStatement {
    Table::create()
        .table("notification_target")
        .col(big_pk_auto("id"))
        .col(string_len_uniq("name", 200))
        .col(string_len("channel", 32))
        .col(boolean("provisioned"))
        .col(boolean("enabled"))
        .col(big_integer("version"))
        .col(text("body"))
        .col(big_integer("created_at"))
        .col(big_integer("updated_at"))
        .to_owned()
}

fn silence() -> TableCreateStatement {
    Table::create()
        .table("silence")
        .col(big_pk_auto("id"))
        .col(text("body"))
        .col(big_integer("starts_at"))
        .col(big_integer("ends_at"))
        .col(big_integer("created_at"))
        .to_owned()
}

fn broker_run() -> TableCreateStatement {
    Table::create()
        .table("broker_run")
        .col(big_pk_auto("id"))
        .col(big_integer("started_at"))
        .col(big_integer("alive_until"))
        .to_owned()
}
