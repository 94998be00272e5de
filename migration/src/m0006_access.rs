//! Who may do what: people with their sessions, keys of the HTTP surface, credentials and extra
//! permissions of devices, and what was done by whom.

use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // MariaDB wants to know how long a key can be.
        let digest = |name| match manager.get_database_backend() {
            DbBackend::MySql => binary_len(name, 32),
            _ => blob(name),
        };
        manager.create_table(user()).await?;
        manager.create_table(user_session(digest("selector_hash"))).await?;
        manager.create_table(api_key(digest("key_hash"))).await?;
        manager.create_table(device_credential()).await?;
        manager.create_table(device_access()).await?;
        manager.create_table(audit()).await
    }
}

fn of(table: &'static str, column: &'static str, owner: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .from(table, column)
        .to(owner, "id")
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}

fn user() -> TableCreateStatement {
    Table::create()
        .table("user")
        .col(big_pk_auto("id"))
        .col(string_len_uniq("name", 64))
        .col(string_len_null("email", 254))
        .col(string_len("role", 16))
        .col(boolean("active"))
        .col(text("password_hash"))
        .col(text("mqtt_allow"))
        .col(big_integer("created_at"))
        .col(big_integer("updated_at"))
        .col(big_integer("version"))
        .to_owned()
}

fn user_session(mut selector_hash: ColumnDef) -> TableCreateStatement {
    Table::create()
        .table("user_session")
        .col(big_pk_auto("id"))
        .col(big_integer("user_id"))
        .col(selector_hash.unique_key())
        .col(blob("token_hash"))
        .col(big_integer("created_at"))
        .col(big_integer("used_at"))
        .col(big_integer("expires_at"))
        .col(string_len_null("user_agent", 200))
        .col(string_len_null("address", 64))
        .foreign_key(&mut of("user_session", "user_id", "user"))
        .to_owned()
}

fn api_key(mut key_hash: ColumnDef) -> TableCreateStatement {
    Table::create()
        .table("api_key")
        .col(big_pk_auto("id"))
        .col(string_len_uniq("name", 100))
        .col(string_len("prefix", 16))
        .col(key_hash.unique_key())
        .col(text("scopes"))
        .col(string_len_null("device", 64))
        .col(big_integer("created_at"))
        .col(string_len("created_by", 120))
        .col(big_integer_null("expires_at"))
        .col(big_integer_null("used_at"))
        .col(big_integer("version"))
        .to_owned()
}

fn device_credential() -> TableCreateStatement {
    Table::create()
        .table("device_credential")
        .col(big_pk_auto("id"))
        .col(big_integer("device_id"))
        .col(string_len("kind", 16))
        .col(blob_null("secret_hash"))
        .col(string_len_null("subject", 256))
        .col(big_integer("created_at"))
        .col(string_len("created_by", 120))
        .col(big_integer_null("expires_at"))
        .col(big_integer_null("used_at"))
        .foreign_key(&mut of("device_credential", "device_id", "device"))
        .to_owned()
}

fn device_access() -> TableCreateStatement {
    Table::create()
        .table("device_access")
        .col(big_integer("device_id").primary_key())
        .col(text("mqtt_allow"))
        .foreign_key(&mut of("device_access", "device_id", "device"))
        .to_owned()
}

fn audit() -> TableCreateStatement {
    Table::create()
        .table("audit")
        .col(big_pk_auto("id"))
        .col(big_integer("at"))
        .col(string_len("actor_kind", 16))
        .col(string_len("actor", 100))
        .col(string_len("action", 64))
        .col(string_len("resource", 300))
        .col(text_null("detail"))
        .col(string_len_null("address", 64))
        .col(string_len_null("request_id", 64))
        .to_owned()
}
