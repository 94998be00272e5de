//! API keys: made, shown, changed, taken away.

use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Api, State, Tag,
    auth::words,
    body::Body,
    caller::{self, Caller, KeysWrite},
    etag,
    page::{self, Page},
    problem::{Answer, Changed, Created, Done, Fault, One},
    wire::{self, Time},
};
use crate::{
    access::{ApiKey, KeyChange, NewKey, Scopes},
    telemetry::DeviceKey,
};

pub(super) struct Keys;

/// A key; its text was shown when it was made
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct KeyView {
    id: i64,
    name: String,
    /// How it begins
    prefix: String,
    scopes: Vec<String>,
    /// The only device that it speaks for
    device: Option<String>,
    created_at: Time,
    /// Such as `user:admin`
    created_by: String,
    expires_at: Option<Time>,
    /// To the minute
    used_at: Option<Time>,
}

/// A key that was just made
#[derive(Debug, Clone, Object)]
struct NewKeyView {
    /// The key; it is not shown again
    key: String,
    #[oai(flatten)]
    about: KeyView,
}

/// A key to be made
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct NewKeyBody {
    name: String,
    /// What it allows, such as `data:read`
    scopes: Vec<String>,
    /// The only device that it speaks for; its scope is `telemetry:write`
    device: Option<String>,
    /// RFC 3339; without it, it does not expire
    expires_at: Option<String>,
}

/// What may be changed of a key; what is left out stays
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct KeyChangeBody {
    name: Option<String>,
    /// Replaces all
    scopes: Option<Vec<String>>,
    /// RFC 3339; "" removes it
    expires_at: Option<String>,
}

#[OpenApi]
impl Keys {
    /// List API keys
    ///
    /// By number, page by page.
    #[oai(path = "/api/keys", method = "get", tag = "Tag::Access", operation_id = "list_keys")]
    async fn list(
        &self,
        _caller: Caller<KeysWrite>,
        api: State<'_>,
        /// Keys in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<KeyView>> {
        list(&api, limit.0, cursor.0).into()
    }

    /// Make an API key
    ///
    /// The answer shows it this once. Nobody can make one that allows more than oneself may do.
    #[oai(path = "/api/keys", method = "post", tag = "Tag::Access", operation_id = "create_key")]
    async fn create(
        &self,
        caller: Caller<KeysWrite>,
        api: State<'_>,
        body: Body<NewKeyBody>,
    ) -> Created<NewKeyView> {
        match body.0 {
            Ok(body) => create(&api, &caller, body).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Show an API key
    #[oai(path = "/api/keys/:id", method = "get", tag = "Tag::Access", operation_id = "get_key")]
    async fn show(
        &self,
        _caller: Caller<KeysWrite>,
        api: State<'_>,
        id: Path<i64>,
    ) -> One<KeyView> {
        let key = api.access.keys.get(*id).ok_or_else(|| Fault::not_found("key"));
        key.map(|key| (KeyView::from(&key), etag::entity_tag(key.version))).into()
    }

    /// Change an API key
    ///
    /// With `If-Match`, only if nobody has changed it since it was read. MQTT connections with it
    /// end, and come back with what it allows then.
    #[oai(
        path = "/api/keys/:id",
        method = "patch",
        tag = "Tag::Access",
        operation_id = "update_key"
    )]
    async fn update(
        &self,
        caller: Caller<KeysWrite>,
        api: State<'_>,
        id: Path<i64>,
        /// The ETag that the key had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Body<KeyChangeBody>,
    ) -> Changed<KeyView> {
        match body.0 {
            Ok(body) => update(&api, &caller, (*id, if_match.0.as_deref()), body).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Revoke an API key
    ///
    /// Its MQTT connections end.
    #[oai(
        path = "/api/keys/:id",
        method = "delete",
        tag = "Tag::Access",
        operation_id = "delete_key"
    )]
    async fn delete(&self, caller: Caller<KeysWrite>, api: State<'_>, id: Path<i64>) -> Done {
        delete(&api, &caller, *id).await.into()
    }
}

fn list(api: &Api, limit: Option<u32>, cursor: Option<String>) -> Result<Page<KeyView>, Fault> {
    let limit = page::limit(limit, 100, 1_000)?;
    let after = match cursor.as_deref().map(str::parse::<i64>) {
        Some(Ok(after)) => after,
        Some(Err(_)) => return Err(Fault::invalid("cursor", "give the next_cursor of a page")),
        None => i64::MIN,
    };
    let mut keys = api.access.keys.all().into_iter().filter(|key| key.id > after);
    let found: Vec<_> = keys.by_ref().take(limit).collect();
    let next = found.last().filter(|_| keys.next().is_some()).map(|key| key.id.to_string());
    Ok(Page::new(found.iter().map(KeyView::from).collect(), next))
}

async fn create(
    api: &Api,
    caller: &Caller<KeysWrite>,
    body: NewKeyBody,
) -> Result<NewKeyView, Fault> {
    let device = body.device.map(|text| {
        DeviceKey::new(&text).map_err(|error| Fault::invalid("/device", error.to_string()))
    });
    let new = NewKey {
        name: body.name,
        scopes: scopes(&body.scopes)?,
        device: device.transpose()?,
        expires_at: body.expires_at.map(|text| wire::time("/expires_at", &text)).transpose()?,
    };
    if let Some(device) = new.device.as_ref().and_then(|key| api.registry.get(key.as_str())) {
        api.access.devices.may_hand_out(device.id, &caller.principal)?;
    }
    let (key, text) = api.access.keys.create(new, &caller.principal).await?;
    caller.note(json!({"id": key.id, "after": said(&key)}));
    Ok(NewKeyView { key: text, about: KeyView::from(&key) })
}

async fn update(
    api: &Api,
    caller: &Caller<KeysWrite>,
    (id, if_match): (i64, Option<&str>),
    body: KeyChangeBody,
) -> Result<KeyView, Fault> {
    let expires_at = match body.expires_at.as_deref() {
        None => None,
        Some("") => Some(None),
        Some(text) => Some(Some(wire::time("/expires_at", text)?)),
    };
    let change = KeyChange {
        name: body.name,
        scopes: body.scopes.map(|words| scopes(&words)).transpose()?,
        expires_at,
    };
    let keys = &api.access.keys;
    let before = keys.get(id).ok_or_else(|| Fault::not_found("key"))?;
    // A key that goes on is handed out anew.
    if let Some(device) = before.device.as_ref().and_then(|key| api.registry.get(key.as_str())) {
        api.access.devices.may_hand_out(device.id, &caller.principal)?;
    }
    let after = keys.change(id, etag::version(if_match)?, change, &caller.principal).await?;
    caller.note(json!({"before": said(&before), "after": said(&after)}));
    caller::cut(api, &api.access.cut_key(id));
    Ok(KeyView::from(&after))
}

/// What the audit log says of a key.
fn said(key: &ApiKey) -> serde_json::Value {
    json!({
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes.to_string(),
        "device": key.device.as_ref().map(ToString::to_string),
        "expires_at": key.expires_at.map(|at| at.to_string()),
    })
}

async fn delete(api: &Api, caller: &Caller<KeysWrite>, id: i64) -> Result<(), Fault> {
    let keys = &api.access.keys;
    let before = keys.get(id).ok_or_else(|| Fault::not_found("key"))?;
    keys.delete(id, &caller.principal).await?;
    caller.note(json!({"before": said(&before)}));
    caller::cut(api, &api.access.cut_key(id));
    Ok(())
}

fn scopes(words: &[String]) -> Result<Scopes, Fault> {
    Scopes::parse(&words.join(" ")).map_err(|error| Fault::invalid("/scopes", error.to_string()))
}

impl From<&ApiKey> for KeyView {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name.clone(),
            prefix: key.prefix.clone(),
            scopes: words(key.scopes),
            device: key.device.as_ref().map(ToString::to_string),
            created_at: Time(key.created_at),
            created_by: key.created_by.clone(),
            expires_at: key.expires_at.map(Time),
            used_at: key.used_at().map(Time),
        }
    }
}
