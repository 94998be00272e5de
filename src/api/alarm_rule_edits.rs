//! Edits of alarm rules: written, then ordered from the engine.
//!
//! Rules of the configuration are not edited here. An edit is in force when it is answered: the engine
//! has taken it over. Edits are made one after the other, so that the engine gets them in the order of
//! their versions.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;
use tokio::sync::{Mutex, oneshot};

use super::{
    Api,
    alarm_rules::{AlarmRuleView, find},
    etag,
    problem::{Fault, FieldError},
};
use crate::{
    alarm::{
        engine::{Done, Order},
        rule::{AlarmRule, InvalidRule},
    },
    store::{AlarmRuleEdit, AlarmRuleRow},
};

/// An edit on its way, apart from the request that asked for it.
pub(super) struct Edit {
    pub(super) api: Arc<Api>,
    /// Held from the writing of a rule to its order.
    pub(super) turns: Arc<Mutex<()>>,
    pub(super) author: Option<String>,
}

impl Edit {
    pub(super) async fn create(self, rule: Value) -> Result<AlarmRuleView, Fault> {
        let edit = to_edit(&read(&self.api, rule)?);
        let turn = self.turns.lock().await;
        let (store, now) = (&self.api.store, self.api.now());
        let row = store.create_alarm_rule(&edit, self.author.as_deref(), now).await?;
        let ordered = self.order(|done| Order::PutRule { row: row.clone(), done: Some(done) });
        drop(turn);
        let _ = ordered.await;
        Ok(row.into())
    }

    /// Makes the next version, unless it says what the rule says already.
    pub(super) async fn change(
        self,
        id: i64,
        if_match: Option<String>,
        next: impl FnOnce(&AlarmRuleRow) -> Result<AlarmRule, Fault>,
    ) -> Result<AlarmRuleView, Fault> {
        let turn = self.turns.lock().await;
        let before = self.editable(id, if_match.as_deref()).await?;
        let edit = to_edit(&next(&before)?);
        if edit.body == before.body {
            return Ok(before.into());
        }
        let (store, author, now) = (&self.api.store, self.author.as_deref(), self.api.now());
        let row = store.update_alarm_rule(id, before.version, &edit, author, now).await?;
        let ordered = self.order(|done| Order::PutRule { row: row.clone(), done: Some(done) });
        drop(turn);
        let _ = ordered.await;
        Ok(row.into())
    }

    pub(super) async fn switch(
        self,
        id: i64,
        if_match: Option<String>,
        enabled: bool,
    ) -> Result<AlarmRuleView, Fault> {
        let next =
            |row: &AlarmRuleRow| Ok(AlarmRule { enabled, ..AlarmRule::from_json(&row.body)? });
        self.change(id, if_match, next).await
    }

    pub(super) async fn delete(self, id: i64, if_match: Option<String>) -> Result<(), Fault> {
        let turn = self.turns.lock().await;
        let before = self.editable(id, if_match.as_deref()).await?;
        self.api.store.delete_alarm_rule(id, before.version).await?;
        let ordered = self.order(|done| Order::RemoveRule { id, done: Some(done) });
        drop(turn);
        let _ = ordered.await;
        Ok(())
    }

    async fn editable(&self, id: i64, if_match: Option<&str>) -> Result<AlarmRuleRow, Fault> {
        let row = find(&self.api, id).await?;
        if row.provisioned {
            let detail = "the rule stands in the configuration (alarms.rules); edit it there";
            return Err(Fault::conflict(detail));
        }
        etag::check(if_match, row.version)?;
        Ok(row)
    }

    /// Ends when the engine has carried out the order.
    fn order(&self, order: impl FnOnce(Done) -> Order) -> oneshot::Receiver<()> {
        let (done, ordered) = oneshot::channel();
        self.api.committer.order(order(done));
        ordered
    }
}

fn to_edit(rule: &AlarmRule) -> AlarmRuleEdit {
    AlarmRuleEdit { name: rule.name.clone(), enabled: rule.enabled, body: rule.to_json() }
}

/// A rule that can be stored: legal, and with targets that there are.
pub(super) fn read(api: &Api, rule: Value) -> Result<AlarmRule, Fault> {
    let rule = AlarmRule::from_value(rule)?;
    let routing = api.notifier.routing();
    let unknown: HashSet<&str> = routing.unknown(&rule.targets).into_iter().collect();
    if unknown.is_empty() {
        return Ok(rule);
    }
    let places =
        rule.targets.iter().enumerate().filter(|(_, name)| unknown.contains(name.as_str()));
    let errors = places.map(|(place, name)| FieldError {
        pointer: format!("/targets/{place}"),
        detail: format!("there is no notification target {name:?}"),
    });
    Err(Fault::wrong(errors.collect()))
}

impl From<InvalidRule> for Fault {
    fn from(invalid: InvalidRule) -> Self {
        let errors = invalid.problems.into_iter();
        Self::wrong(errors.map(|p| FieldError { pointer: p.path, detail: p.detail }).collect())
    }
}
