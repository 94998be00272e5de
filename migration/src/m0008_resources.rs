//! What people's changes need: the version and the resolution of a sensor, devices and sensors that are retired with
//! their data kept, work that goes on after its request, answers to requests that may come again.

use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(added("device", big_integer_null("retired_at"))).await?;
        manager.alter_table(added("sensor", big_integer_null("retired_at"))).await?;
        manager.alter_table(added("sensor", double_null("resolution"))).await?;
        let version = big_integer("version").default(1).to_owned();
        manager.alter_table(added("sensor", version)).await?;
        manager.create_table(unjudged()).await?;
        manager.create_table(job()).await?;
        let by_state =
            Index::create().name("job_state_id").table("job").col("state").col("id").to_owned();
        manager.create_index(by_state).await?;
        let mut answer = http_answer();
        if manager.get_database_backend() == DbBackend::Sqlite {
            answer.extra("WITHOUT ROWID");
        }
        manager.create_table(answer).await?;
        let by_age = Index::create()
            .name("http_answer_created_at")
            .table("http_answer")
            .col("created_at")
            .to_owned();
        manager.create_index(by_age).await
    }
}

fn added(table: &'static str, column: ColumnDef) -> TableAlterStatement {
    Table::alter().table(table).add_column(column).to_owned()
}

fn job() -> TableCreateStatement {
    Table::create()
        .table("job")
        .col(big_pk_auto("id"))
        .col(string_len("kind", 32))
        .col(string_len("subject", 200))
        .col(string_len("state", 16))
        .col(big_integer("created_at"))
        .col(big_integer_null("started_at"))
        .col(big_integer_null("finished_at"))
        .col(big_integer("done"))
        .col(big_integer("total"))
        .col(text("parameters"))
        .col(text("checkpoint"))
        .col(text("result"))
        .col(text_null("error"))
        .to_owned()
}

/// Times of receipt, the last included, of readings that no alarm rule has judged, and none is to
/// judge at the next start.
fn unjudged() -> TableCreateStatement {
    Table::create()
        .table("unjudged")
        .col(big_integer("first_received").primary_key().to_owned())
        .col(big_integer("last_received"))
        .to_owned()
}

fn http_answer() -> TableCreateStatement {
    Table::create()
        .table("http_answer")
        .col(binary_len("key", 32).primary_key().to_owned())
        .col(binary_len("request", 32))
        .col(integer("status"))
        .col(text("headers"))
        .col(blob("body"))
        .col(big_integer("created_at"))
        .to_owned()
}
