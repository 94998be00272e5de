//! Alarm rules: look, make, edit, switch, delete, check, and what they were before. The edits
//! themselves are in [`alarm_rule_edits`](super::alarm_rule_edits).

use std::{collections::HashSet, sync::Arc};

use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{
    Api, State, Tag,
    alarm_rule_edits::{Edit, read},
    alarm_rule_form as form,
    body::Body,
    caller::{AlarmsRead, AlarmsWrite, Caller},
    etag,
    page::{self, Page},
    problem::{Answer, Changed, Created, Fault, One, Removed},
    typed::Typed,
    wire::Time,
};
use crate::{
    alarm::rule::presets,
    store::{AlarmRuleRow, AlarmRuleVersionRow},
};

#[derive(Default)]
pub(super) struct AlarmRules {
    /// Held from the writing of a rule to its order.
    edits: Arc<Mutex<()>>,
}

/// An alarm rule as it is
#[derive(Debug, Clone, Object)]
pub(super) struct AlarmRuleView {
    id: i64,
    /// Rises with each edit; also its ETag
    version: i64,
    /// It stands in the configuration and is not edited here
    provisioned: bool,
    created_at: Time,
    updated_at: Time,
    /// The rule as it is put, every default written out
    rule: Typed<form::AlarmRule>,
}

/// An alarm rule as it once was
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct AlarmRuleVersion {
    version: i64,
    created_at: Time,
    /// The name of the key that it was made with
    author: Option<String>,
    rule: Typed<form::AlarmRule>,
}

/// A ready-made rule to start from
#[derive(Debug, Clone, Object)]
struct AlarmRulePreset {
    name: String,
    title: String,
    rule: Typed<form::AlarmRule>,
}

/// A rule that could be made
#[derive(Debug, Clone, Object)]
struct ValidAlarmRule {
    /// Every default written out
    rule: Typed<form::AlarmRule>,
    /// Names in `suppressed_by` that no rule has: nothing suppresses it on their account
    unknown_rules: Vec<String>,
}

#[OpenApi]
impl AlarmRules {
    /// List alarm rules
    ///
    /// In the order in which they were made.
    #[oai(
        path = "/api/alarm-rules",
        method = "get",
        tag = "Tag::Alarms",
        operation_id = "list_alarm_rules"
    )]
    async fn list(
        &self,
        _caller: Caller<AlarmsRead>,
        api: State<'_>,
        /// Only those enabled, or disabled
        enabled: Query<Option<bool>>,
        /// Part of the name
        q: Query<Option<String>>,
        /// Rules in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<AlarmRuleView>> {
        list(&api, enabled.0, q.0.as_deref(), (limit.0, cursor.0.as_deref())).await.into()
    }

    /// Make an alarm rule
    ///
    /// It judges what arrives after the answer.
    #[oai(
        path = "/api/alarm-rules",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "create_alarm_rule"
    )]
    async fn create(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        body: Body<Typed<form::AlarmRule>>,
    ) -> Created<AlarmRuleView> {
        let rule = match body.0 {
            Ok(rule) => rule.value,
            Err(fault) => return fault.into(),
        };
        let edit = self.edit(&api, &caller);
        edit.create(rule).await.into()
    }

    /// Ready-made rules
    ///
    /// For common sensors; each `rule` can be posted as it is.
    #[oai(
        path = "/api/alarm-rules/presets",
        method = "get",
        tag = "Tag::Alarms",
        operation_id = "list_alarm_rule_presets"
    )]
    async fn presets(&self, _caller: Caller<AlarmsRead>) -> Answer<Page<AlarmRulePreset>> {
        let presets = presets().into_iter().map(|preset| AlarmRulePreset {
            name: preset.name.to_owned(),
            title: preset.title.to_owned(),
            rule: Typed::new(preset.rule),
        });
        Answer::from(Ok(Page::new(presets.collect(), None)))
    }

    /// Check an alarm rule
    ///
    /// As if it were made, with every mistake and where it stands; nothing is stored.
    #[oai(
        path = "/api/alarm-rules/validate",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "validate_alarm_rule"
    )]
    async fn validate(
        &self,
        _caller: Caller<AlarmsWrite>,
        api: State<'_>,
        body: Body<Typed<form::AlarmRule>>,
    ) -> Changed<ValidAlarmRule> {
        match body.0 {
            Ok(rule) => validate(&api, rule.value).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Show an alarm rule
    #[oai(
        path = "/api/alarm-rules/:id",
        method = "get",
        tag = "Tag::Alarms",
        operation_id = "get_alarm_rule"
    )]
    async fn show(
        &self,
        _caller: Caller<AlarmsRead>,
        api: State<'_>,
        id: Path<i64>,
    ) -> One<AlarmRuleView> {
        let found = find(&api, id.0).await;
        let tagged = |row: AlarmRuleRow| {
            let tag = etag::entity_tag(row.version);
            (AlarmRuleView::from(row), tag)
        };
        found.map(tagged).into()
    }

    /// Replace an alarm rule
    ///
    /// With `If-Match`, only if nobody has changed it since it was read. Severities that it keeps stay
    /// as they are; what it no longer covers is cleared.
    #[oai(
        path = "/api/alarm-rules/:id",
        method = "put",
        tag = "Tag::Alarms",
        operation_id = "update_alarm_rule"
    )]
    async fn update(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        /// The ETag that the rule had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Body<Typed<form::AlarmRule>>,
    ) -> Changed<AlarmRuleView> {
        let rule = match body.0 {
            Ok(rule) => rule.value,
            Err(fault) => return fault.into(),
        };
        let edit = self.edit(&api, &caller);
        match read(&api, rule) {
            Ok(rule) => edit.change(id.0, if_match.0, |_| Ok(rule)).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Delete an alarm rule
    ///
    /// Its open alarms are cleared; its alarms and versions stay to be read.
    #[oai(
        path = "/api/alarm-rules/:id",
        method = "delete",
        tag = "Tag::Alarms",
        operation_id = "delete_alarm_rule"
    )]
    async fn delete(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        /// The ETag that the rule had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Removed {
        let edit = self.edit(&api, &caller);
        edit.delete(id.0, if_match.0).await.into()
    }

    /// Enable an alarm rule
    #[oai(
        path = "/api/alarm-rules/:id/enable",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "enable_alarm_rule"
    )]
    async fn enable(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        /// The ETag that the rule had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Changed<AlarmRuleView> {
        let edit = self.edit(&api, &caller);
        edit.switch(id.0, if_match.0, true).await.into()
    }

    /// Disable an alarm rule
    ///
    /// Its open alarms are cleared.
    #[oai(
        path = "/api/alarm-rules/:id/disable",
        method = "post",
        tag = "Tag::Alarms",
        operation_id = "disable_alarm_rule"
    )]
    async fn disable(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        /// The ETag that the rule had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Changed<AlarmRuleView> {
        let edit = self.edit(&api, &caller);
        edit.switch(id.0, if_match.0, false).await.into()
    }

    /// Versions of an alarm rule
    ///
    /// Newest first; of a deleted rule, too.
    #[oai(
        path = "/api/alarm-rules/:id/versions",
        method = "get",
        tag = "Tag::Alarms",
        operation_id = "list_alarm_rule_versions"
    )]
    async fn versions(
        &self,
        _caller: Caller<AlarmsRead>,
        api: State<'_>,
        id: Path<i64>,
        /// Versions in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<AlarmRuleVersion>> {
        versions(&api, id.0, limit.0, cursor.0.as_deref()).await.into()
    }

    /// Show a version of an alarm rule
    #[oai(
        path = "/api/alarm-rules/:id/versions/:version",
        method = "get",
        tag = "Tag::Alarms",
        operation_id = "get_alarm_rule_version"
    )]
    async fn version(
        &self,
        _caller: Caller<AlarmsRead>,
        api: State<'_>,
        id: Path<i64>,
        version: Path<i64>,
    ) -> Answer<AlarmRuleVersion> {
        version_of(&api, id.0, version.0).await.into()
    }
}

impl AlarmRules {
    fn edit(&self, api: &Arc<Api>, caller: &Caller<AlarmsWrite>) -> Edit {
        Edit { api: api.clone(), turns: self.edits.clone(), author: caller.author() }
    }
}

async fn validate(api: &Api, rule: Value) -> Result<ValidAlarmRule, Fault> {
    let rule = read(api, rule)?;
    let known: HashSet<String> =
        api.store.alarm_rules().await?.into_iter().map(|row| row.name).collect();
    let unknown = rule.suppressed_by.iter().filter(|name| !known.contains(*name));
    Ok(ValidAlarmRule {
        unknown_rules: unknown.cloned().collect(),
        rule: Typed::stored(&rule.to_json()),
    })
}

pub(super) async fn find(api: &Api, id: i64) -> Result<AlarmRuleRow, Fault> {
    api.store.alarm_rule(id).await?.ok_or_else(|| Fault::not_found("alarm rule"))
}

async fn list(
    api: &Api,
    enabled: Option<bool>,
    text: Option<&str>,
    (limit, cursor): (Option<u32>, Option<&str>),
) -> Result<Page<AlarmRuleView>, Fault> {
    let (limit, after) = (page::limit(limit, 100, 1_000)?, page::number(cursor)?);
    let text = text.map(str::to_lowercase);
    let wanted = api.store.alarm_rules().await?.into_iter().filter(|row| {
        after.is_none_or(|after| row.id > after)
            && enabled.is_none_or(|enabled| row.enabled == enabled)
            && text.as_ref().is_none_or(|text| row.name.to_lowercase().contains(text))
    });
    let rows = wanted.take(limit + 1).collect();
    Ok(Page::of(rows, limit, |row: &AlarmRuleRow| row.id.to_string()))
}

async fn versions(
    api: &Api,
    id: i64,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<AlarmRuleVersion>, Fault> {
    let (limit, before) = (page::limit(limit, 100, 1_000)?, page::number(cursor)?);
    let all = api.store.alarm_rule_versions(id).await?;
    if all.is_empty() {
        return Err(Fault::not_found("alarm rule"));
    }
    let wanted = all.into_iter().filter(|row| before.is_none_or(|before| row.version < before));
    let rows = wanted.take(limit + 1).collect();
    Ok(Page::of(rows, limit, |row: &AlarmRuleVersionRow| row.version.to_string()))
}

async fn version_of(api: &Api, id: i64, version: i64) -> Result<AlarmRuleVersion, Fault> {
    let found = api.store.alarm_rule_version(id, version).await?;
    found.map(AlarmRuleVersion::from).ok_or_else(|| Fault::not_found("version of an alarm rule"))
}

impl From<AlarmRuleRow> for AlarmRuleView {
    fn from(row: AlarmRuleRow) -> Self {
        Self {
            id: row.id,
            version: row.version,
            provisioned: row.provisioned,
            created_at: Time(row.created_at),
            updated_at: Time(row.updated_at),
            rule: Typed::stored(&row.body),
        }
    }
}

impl From<AlarmRuleVersionRow> for AlarmRuleVersion {
    fn from(row: AlarmRuleVersionRow) -> Self {
        Self {
            version: row.version,
            created_at: Time(row.created_at),
            author: row.author,
            rule: Typed::stored(&row.body),
        }
    }
}
