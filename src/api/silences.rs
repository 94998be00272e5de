//! Silences: what is not told for a while.

use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Api, State, Tag, body,
    body::Body,
    caller::{AlarmsRead, AlarmsWrite, Caller},
    devices::checked_text,
    notification_target_form::NotificationMatcher,
    page::{self, Page},
    problem::{Answer, Changed, Created, Deleted, Fault},
    typed::Typed,
    wire::{self, Time},
};
use crate::{
    alarm::notify::{Matcher, Silence, SilenceBody},
    store::{SilenceEdit, SilenceRow},
    telemetry::Timestamp,
};

pub(super) struct Silences;

/// Silences that have not ended; each notice is compared with all of them.
const SILENCES_MAX: usize = 1_000;
const COMMENT_MAX: usize = 1_000;

/// A silence as it is
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct SilenceView {
    id: i64,
    #[oai(rename = "match")]
    matcher: Typed<NotificationMatcher>,
    starts_at: Time,
    /// Not included
    ends_at: Time,
    /// It holds at present
    active: bool,
    comment: String,
    author: Option<String>,
    created_at: Time,
}

/// What is not to be told, and until when: `ends_at` or `duration`
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct SilenceForm {
    /// At least one part
    #[oai(rename = "match")]
    #[serde(rename = "match")]
    matcher: Typed<NotificationMatcher>,
    /// The present if left out; as it was in an edit
    starts_at: Option<Time>,
    ends_at: Option<Time>,
    /// From its start, such as `2h`
    duration: Option<String>,
    /// Why; at most 1000 characters
    comment: Option<String>,
    /// The name of the key if left out; as it was in an edit
    author: Option<String>,
}

#[OpenApi]
impl Silences {
    /// List silences
    ///
    /// In the order in which they were made.
    #[oai(
        path = "/api/silences",
        method = "get",
        tag = "Tag::Notifications",
        operation_id = "list_silences"
    )]
    async fn list(
        &self,
        _caller: Caller<AlarmsRead>,
        api: State<'_>,
        /// Those that have ended, too
        ended: Query<Option<bool>>,
        /// Silences in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<SilenceView>> {
        let with_ended = ended.0.unwrap_or(false);
        list(&api, with_ended, limit.0, cursor.0.as_deref()).await.into()
    }

    /// Silence notifications
    ///
    /// Alarms go on; nothing that matches is told, and it is not told later.
    #[oai(
        path = "/api/silences",
        method = "post",
        tag = "Tag::Notifications",
        operation_id = "create_silence"
    )]
    async fn create(
        &self,
        caller: Caller<AlarmsWrite>,
        api: State<'_>,
        body: Body<SilenceForm>,
    ) -> Created<SilenceView> {
        let form = match body.0 {
            Ok(form) => form,
            Err(fault) => return fault.into(),
        };
        let created = create(&api, form, caller.author()).await;
        if let Ok(silence) = &created {
            caller.note(json!({"id": silence.id}));
        }
        created.into()
    }

    /// Show a silence
    #[oai(
        path = "/api/silences/:id",
        method = "get",
        tag = "Tag::Notifications",
        operation_id = "get_silence"
    )]
    async fn show(
        &self,
        _caller: Caller<AlarmsRead>,
        api: State<'_>,
        id: Path<i64>,
    ) -> Answer<SilenceView> {
        find(&api, id.0).await.map(|silence| view(&api, silence)).into()
    }

    /// Replace a silence
    #[oai(
        path = "/api/silences/:id",
        method = "put",
        tag = "Tag::Notifications",
        operation_id = "update_silence"
    )]
    async fn update(
        &self,
        _caller: Caller<AlarmsWrite>,
        api: State<'_>,
        id: Path<i64>,
        body: Body<SilenceForm>,
    ) -> Changed<SilenceView> {
        let form = match body.0 {
            Ok(form) => form,
            Err(fault) => return fault.into(),
        };
        update(&api, id.0, form).await.into()
    }

    /// End a silence
    ///
    /// It is gone; what it has held back is not told.
    #[oai(
        path = "/api/silences/:id",
        method = "delete",
        tag = "Tag::Notifications",
        operation_id = "delete_silence"
    )]
    async fn delete(&self, _caller: Caller<AlarmsWrite>, api: State<'_>, id: Path<i64>) -> Deleted {
        delete(&api, id.0).await.into()
    }
}

async fn find(api: &Api, id: i64) -> Result<SilenceRow, Fault> {
    api.store.silence(id).await?.ok_or_else(|| Fault::not_found("silence"))
}

async fn list(
    api: &Api,
    with_ended: bool,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<SilenceView>, Fault> {
    let (limit, after) = (page::limit(limit, 100, 1_000)?, page::number(cursor)?);
    let all = api.store.silences((!with_ended).then(|| api.now())).await?.into_iter();
    let wanted = all.filter(|row| after.is_none_or(|after| row.id > after)).take(limit + 1);
    let mut rows: Vec<SilenceRow> = wanted.collect();
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| row.id.to_string());
    Ok(Page::new(rows.into_iter().map(|row| view(api, row)).collect(), next))
}

async fn create(
    api: &Api,
    form: SilenceForm,
    author: Option<String>,
) -> Result<SilenceView, Fault> {
    let now = api.now();
    let edit = read(form, now, author)?;
    if api.store.silences(Some(now)).await?.len() >= SILENCES_MAX {
        return Err(Fault::conflict(format!("there are {SILENCES_MAX} silences; end some first")));
    }
    let row = api.store.create_silence(&edit, now).await?;
    api.notifier.follow_edit(&api.store, now).await;
    Ok(view(api, row))
}

async fn update(api: &Api, id: i64, form: SilenceForm) -> Result<SilenceView, Fault> {
    let before = find(api, id).await?;
    let author = Silence::from_row(&before).ok().and_then(|silence| silence.author);
    let edit = read(form, before.starts_at, author)?;
    api.store.update_silence(id, &edit).await?;
    api.notifier.follow_edit(&api.store, api.now()).await;
    let SilenceEdit { body, starts_at, ends_at } = edit;
    Ok(view(api, SilenceRow { body, starts_at, ends_at, ..before }))
}

async fn delete(api: &Api, id: i64) -> Result<(), Fault> {
    if !api.store.delete_silence(id).await? {
        return Err(Fault::not_found("silence"));
    }
    api.notifier.follow_edit(&api.store, api.now()).await;
    Ok(())
}

/// A silence that can be stored; `start` and `author` where it does not say.
fn read(form: SilenceForm, start: Timestamp, author: Option<String>) -> Result<SilenceEdit, Fault> {
    let matcher: Matcher = body::fit(form.matcher.value, "/match")?;
    let starts_at = form.starts_at.map_or(start, |time| time.0);
    let ends_at = wire::end(starts_at, form.ends_at, "/ends_at", form.duration.as_deref())?;
    let comment = form.comment.unwrap_or_default();
    if comment.chars().count() > COMMENT_MAX {
        return Err(Fault::invalid("/comment", "at most 1000 characters"));
    }
    let given = form.author.map(|name| checked_text("/author", name)).transpose()?;
    let author = given.or(author);
    let silence = Silence { id: 0, matcher, comment, author, starts_at, ends_at };
    silence.check().map_err(|invalid| match invalid.pointer.as_ref() {
        "/matcher" => Fault::invalid("/match", invalid.detail),
        pointer => Fault::invalid(pointer, invalid.detail),
    })?;
    let Silence { matcher, comment, author, .. } = silence;
    let body = serde_json::to_string(&SilenceBody { matcher, comment, author });
    Ok(SilenceEdit { body: body.unwrap_or_default(), starts_at, ends_at })
}

fn view(api: &Api, row: SilenceRow) -> SilenceView {
    let now = api.now();
    let silence = Silence::from_row(&row).ok();
    let matcher = silence.as_ref().and_then(|it| serde_json::to_value(&it.matcher).ok());
    SilenceView {
        id: row.id,
        matcher: Typed::new(matcher.unwrap_or_default()),
        starts_at: Time(row.starts_at),
        ends_at: Time(row.ends_at),
        active: row.starts_at <= now && now < row.ends_at,
        comment: silence.as_ref().map(|it| it.comment.clone()).unwrap_or_default(),
        author: silence.and_then(|it| it.author),
        created_at: Time(row.created_at),
    }
}
