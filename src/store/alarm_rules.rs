//! Alarm rules and their versions: read whole at start, changed by people one at a time, or by the
//! configuration at start. Each edit writes the rule and its next version in one transaction.
//! Versions outlive their rule, so that it can be said what raised an old alarm.

use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
};

use super::{AlarmRuleEdit, AlarmRuleRow, AlarmRuleVersionRow, Provisioned, Store, StoreError};
use crate::telemetry::Timestamp;
use entity::{alarm_rule, alarm_rule_version};

impl Store {
    /// Every rule.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn alarm_rules(&self) -> Result<Vec<AlarmRuleRow>, StoreError> {
        let rows = alarm_rule::Entity::find()
            .order_by_asc(alarm_rule::Column::Id)
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(rule).collect())
    }

    /// # Errors
    /// As above.
    pub async fn alarm_rule(&self, id: i64) -> Result<Option<AlarmRuleRow>, StoreError> {
        Ok(alarm_rule::Entity::find_by_id(id).one(&self.readers).await?.map(rule))
    }

    /// Stores a rule as its version 1.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one of that name.
    pub async fn create_alarm_rule(
        &self,
        edit: &AlarmRuleEdit,
        author: Option<&str>,
        at: Timestamp,
    ) -> Result<AlarmRuleRow, StoreError> {
        let write = self.begin().await?;
        let rule = insert(&write.transaction, edit, false, author, at).await?;
        write.commit().await?;
        Ok(rule)
    }

    /// Changes a rule if it is still at `version`; returns it with its next version.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when it is not, or is gone; [`StoreError::Exists`] when another rule
    /// has that name.
    pub async fn update_alarm_rule(
        &self,
        id: i64,
        version: i64,
        edit: &AlarmRuleEdit,
        author: Option<&str>,
        at: Timestamp,
    ) -> Result<AlarmRuleRow, StoreError> {
        let write = self.begin().await?;
        let found = alarm_rule::Entity::find_by_id(id)
            .filter(alarm_rule::Column::Version.eq(version))
            .one(&write.transaction)
            .await?;
        let Some(found) = found else { return Err(StoreError::Outdated) };
        let rule = update(&write.transaction, found, edit, author, at).await?;
        write.commit().await?;
        Ok(rule)
    }

    /// Deletes a rule if it is still at `version`. Its versions and its alarms stay.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when it is not, or is gone.
    pub async fn delete_alarm_rule(&self, id: i64, version: i64) -> Result<(), StoreError> {
        let write = self.begin().await?;
        let deleted = alarm_rule::Entity::delete_many()
            .filter(alarm_rule::Column::Id.eq(id))
            .filter(alarm_rule::Column::Version.eq(version))
            .exec(&write.transaction)
            .await?;
        if deleted.rows_affected == 0 {
            return Err(StoreError::Outdated);
        }
        write.commit().await
    }

    /// Makes the provisioned rules those of the configuration. A rule whose body is the same keeps
    /// its version; one that the configuration has no more goes; the names of people's rules stay
    /// theirs.
    ///
    /// # Errors
    /// As above; nothing is changed then.
    pub async fn provision_alarm_rules(
        &self,
        configured: &[AlarmRuleEdit],
        at: Timestamp,
    ) -> Result<Provisioned, StoreError> {
        let write = self.begin().await?;
        let stored = alarm_rule::Entity::find().all(&write.transaction).await?;
        let mut stored: HashMap<String, alarm_rule::Model> =
            stored.into_iter().map(|row| (row.name.clone(), row)).collect();
        let mut outcome = Provisioned::default();
        for edit in configured {
            match stored.remove(&edit.name) {
                Some(row) if !row.provisioned => outcome.clashes.push(row.name),
                Some(row) if row.body == edit.body && row.enabled == edit.enabled => {}
                Some(row) => {
                    update(&write.transaction, row, edit, None, at).await?;
                    outcome.updated += 1;
                }
                None => {
                    insert(&write.transaction, edit, true, None, at).await?;
                    outcome.created += 1;
                }
            }
        }
        let gone = stored.into_values().filter(|row| row.provisioned);
        outcome.removed = gone.map(|row| (row.id, row.name)).collect();
        outcome.removed.sort();
        alarm_rule::Entity::delete_many()
            .filter(alarm_rule::Column::Id.is_in(outcome.removed.iter().map(|(id, _)| *id)))
            .exec(&write.transaction)
            .await?;
        write.commit().await?;
        Ok(outcome)
    }

    /// The versions of a rule, the newest first; of a deleted rule too.
    ///
    /// # Errors
    /// As above.
    pub async fn alarm_rule_versions(
        &self,
        rule: i64,
    ) -> Result<Vec<AlarmRuleVersionRow>, StoreError> {
        let rows = alarm_rule_version::Entity::find()
            .filter(alarm_rule_version::Column::RuleId.eq(rule))
            .order_by_desc(alarm_rule_version::Column::Version)
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(rule_version).collect())
    }

    /// # Errors
    /// As above.
    pub async fn alarm_rule_version(
        &self,
        rule: i64,
        version: i64,
    ) -> Result<Option<AlarmRuleVersionRow>, StoreError> {
        let found = alarm_rule_version::Entity::find_by_id((rule, version));
        Ok(found.one(&self.readers).await?.map(rule_version))
    }
}

async fn insert(
    transaction: &DatabaseTransaction,
    edit: &AlarmRuleEdit,
    provisioned: bool,
    author: Option<&str>,
    at: Timestamp,
) -> Result<AlarmRuleRow, StoreError> {
    let model = alarm_rule::ActiveModel {
        name: Set(edit.name.clone()),
        enabled: Set(edit.enabled),
        provisioned: Set(provisioned),
        version: Set(1),
        body: Set(edit.body.clone()),
        created_at: Set(at.as_micros()),
        updated_at: Set(at.as_micros()),
        ..Default::default()
    };
    let inserted = alarm_rule::Entity::insert(model).exec(transaction).await;
    let id = inserted.map_err(name_taken)?.last_insert_id;
    insert_version(transaction, id, 1, edit, author, at).await?;
    Ok(AlarmRuleRow {
        id,
        name: edit.name.clone(),
        enabled: edit.enabled,
        provisioned,
        version: 1,
        body: edit.body.clone(),
        created_at: at,
        updated_at: at,
    })
}

async fn update(
    transaction: &DatabaseTransaction,
    row: alarm_rule::Model,
    edit: &AlarmRuleEdit,
    author: Option<&str>,
    at: Timestamp,
) -> Result<AlarmRuleRow, StoreError> {
    let version = row.version + 1;
    let model = alarm_rule::ActiveModel {
        name: Set(edit.name.clone()),
        enabled: Set(edit.enabled),
        version: Set(version),
        body: Set(edit.body.clone()),
        updated_at: Set(at.as_micros()),
        ..Default::default()
    };
    alarm_rule::Entity::update_many()
        .set(model)
        .filter(alarm_rule::Column::Id.eq(row.id))
        .exec(transaction)
        .await
        .map_err(name_taken)?;
    insert_version(transaction, row.id, version, edit, author, at).await?;
    Ok(AlarmRuleRow {
        name: edit.name.clone(),
        enabled: edit.enabled,
        version,
        body: edit.body.clone(),
        updated_at: at,
        ..rule(row)
    })
}

async fn insert_version(
    transaction: &DatabaseTransaction,
    rule_id: i64,
    version: i64,
    edit: &AlarmRuleEdit,
    author: Option<&str>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let model = alarm_rule_version::ActiveModel {
        rule_id: Set(rule_id),
        version: Set(version),
        body: Set(edit.body.clone()),
        created_at: Set(at.as_micros()),
        author: Set(author.map(str::to_owned)),
    };
    alarm_rule_version::Entity::insert(model).exec_without_returning(transaction).await?;
    Ok(())
}

fn name_taken(error: sea_orm::DbErr) -> StoreError {
    match StoreError::from(error) {
        StoreError::Exists(_) => StoreError::Exists("a rule of that name"),
        other => other,
    }
}

fn rule(row: alarm_rule::Model) -> AlarmRuleRow {
    AlarmRuleRow {
        id: row.id,
        name: row.name,
        enabled: row.enabled,
        provisioned: row.provisioned,
        version: row.version,
        body: row.body,
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
    }
}

fn rule_version(row: alarm_rule_version::Model) -> AlarmRuleVersionRow {
    AlarmRuleVersionRow {
        rule_id: row.rule_id,
        version: row.version,
        body: row.body,
        created_at: Timestamp::from_micros(row.created_at),
        author: row.author,
    }
}
