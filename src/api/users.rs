//! Users, for those who look after them.

use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Api, State, Tag,
    auth::{SessionView, sessions_of},
    body::Body,
    caller::{self, Caller, UsersWrite},
    etag,
    page::{self, Page},
    problem::{Answer, Changed, Created, Done, Fault, One},
    wire::Time,
};
use crate::{
    access::{NewPassword, NewPerson, PersonChange, Role, User},
    config::Permission,
};

pub(super) struct Users;

/// A user
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct UserView {
    name: String,
    email: Option<String>,
    /// `viewer`, `operator` or `admin`
    role: String,
    /// One that is not can't sign in
    active: bool,
    /// MQTT topics beyond what the role allows, such as `publish:shop/#`
    mqtt_allow: Vec<String>,
    created_at: Time,
    updated_at: Time,
}

/// A user to be made
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct NewUserBody {
    /// 1 to 64 of A-Z a-z 0-9 . _ @ -
    name: String,
    email: Option<String>,
    /// `viewer`, `operator` or `admin`
    role: String,
    /// At least 10 characters, and not one that everybody tries
    password: Option<String>,
    /// Instead of the password: its argon2id or bcrypt hash, of a user who moves here
    password_hash: Option<String>,
    mqtt_allow: Option<Vec<String>>,
}

/// What may be changed of a user; what is left out stays
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct UserChange {
    /// "" removes it
    email: Option<String>,
    role: Option<String>,
    /// false signs the user out everywhere
    active: Option<bool>,
    /// Replaces all
    mqtt_allow: Option<Vec<String>>,
}

/// A password for somebody else
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct PasswordBody {
    password: String,
}

#[OpenApi]
impl Users {
    /// List users
    ///
    /// By name, page by page.
    #[oai(path = "/api/users", method = "get", tag = "Tag::Access", operation_id = "list_users")]
    async fn list(
        &self,
        _caller: Caller<UsersWrite>,
        api: State<'_>,
        /// Users in a page, 1 to 1000; 100 if left out
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Answer<Page<UserView>> {
        list(&api, limit.0, cursor.0).into()
    }

    /// Make a user
    ///
    /// Nobody can make one who may do more than oneself.
    #[oai(path = "/api/users", method = "post", tag = "Tag::Access", operation_id = "create_user")]
    async fn create(
        &self,
        caller: Caller<UsersWrite>,
        api: State<'_>,
        body: Body<NewUserBody>,
    ) -> Created<UserView> {
        match body.0 {
            Ok(body) => create(&api, &caller, body).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Show a user
    #[oai(
        path = "/api/users/:name",
        method = "get",
        tag = "Tag::Access",
        operation_id = "get_user"
    )]
    async fn show(
        &self,
        _caller: Caller<UsersWrite>,
        api: State<'_>,
        name: Path<String>,
    ) -> One<UserView> {
        let user = api.access.people.get(&name).ok_or_else(|| Fault::not_found("user"));
        user.map(|user| (UserView::from(&*user), etag::entity_tag(user.version))).into()
    }

    /// Change a user
    ///
    /// With `If-Match`, only if nobody has changed it since it was read. Somebody has to be an
    /// active admin afterwards.
    #[oai(
        path = "/api/users/:name",
        method = "patch",
        tag = "Tag::Access",
        operation_id = "update_user"
    )]
    async fn update(
        &self,
        caller: Caller<UsersWrite>,
        api: State<'_>,
        name: Path<String>,
        /// The ETag that the user had when it was read
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Body<UserChange>,
    ) -> Changed<UserView> {
        match body.0 {
            Ok(body) => update(&api, &caller, (&name, if_match.0.as_deref()), body).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Delete a user
    ///
    /// With the sessions and MQTT connections. What the user has done stays in the audit log.
    #[oai(
        path = "/api/users/:name",
        method = "delete",
        tag = "Tag::Access",
        operation_id = "delete_user"
    )]
    async fn delete(&self, caller: Caller<UsersWrite>, api: State<'_>, name: Path<String>) -> Done {
        delete(&api, &caller, &name).await.into()
    }

    /// Set somebody's password
    ///
    /// Ends the user's sessions and MQTT connections.
    #[oai(
        path = "/api/users/:name/password",
        method = "put",
        tag = "Tag::Access",
        operation_id = "set_user_password"
    )]
    async fn set_password(
        &self,
        caller: Caller<UsersWrite>,
        api: State<'_>,
        name: Path<String>,
        body: Body<PasswordBody>,
    ) -> Done {
        match body.0 {
            Ok(body) => set_password(&api, &caller, &name, body).await.into(),
            Err(fault) => Done::from(Err(fault)),
        }
    }

    /// List a user's sessions
    #[oai(
        path = "/api/users/:name/sessions",
        method = "get",
        tag = "Tag::Access",
        operation_id = "list_user_sessions"
    )]
    async fn sessions(
        &self,
        _caller: Caller<UsersWrite>,
        api: State<'_>,
        name: Path<String>,
    ) -> Answer<Page<SessionView>> {
        let user = api.access.people.get(&name).ok_or_else(|| Fault::not_found("user"));
        user.map(|user| sessions_of(&api, user.id, None)).into()
    }

    /// End all of a user's sessions
    #[oai(
        path = "/api/users/:name/sessions",
        method = "delete",
        tag = "Tag::Access",
        operation_id = "end_user_sessions"
    )]
    async fn end_sessions(
        &self,
        caller: Caller<UsersWrite>,
        api: State<'_>,
        name: Path<String>,
    ) -> Done {
        end_sessions(&api, &caller, &name).await.into()
    }
}

fn list(api: &Api, limit: Option<u32>, cursor: Option<String>) -> Result<Page<UserView>, Fault> {
    let limit = page::limit(limit, 100, 1_000)?;
    let users = api.access.people.all();
    let mut users = users.iter().filter(|user| cursor.as_ref().is_none_or(|c| *user.name > **c));
    let found: Vec<_> = users.by_ref().take(limit).collect();
    let next = found.last().filter(|_| users.next().is_some()).map(|user| user.name.to_string());
    Ok(Page::new(found.iter().map(|user| UserView::from(&***user)).collect(), next))
}

async fn create(
    api: &Api,
    caller: &Caller<UsersWrite>,
    body: NewUserBody,
) -> Result<UserView, Fault> {
    let password = match (body.password, body.password_hash) {
        (Some(password), None) => NewPassword::Plain(password),
        (None, Some(hash)) => NewPassword::Hash(hash),
        (None, None) | (Some(_), Some(_)) => {
            return Err(Fault::invalid("/password", "give password, or password_hash"));
        }
    };
    let person = NewPerson {
        name: body.name,
        email: body.email.filter(|email| !email.is_empty()),
        role: role(&body.role)?,
        password,
        mqtt_allow: permissions("/mqtt_allow", body.mqtt_allow.unwrap_or_default())?,
    };
    let user = api.access.people.create(person, &caller.principal).await?;
    caller.note(json!({"user": &*user.name, "role": user.role.as_str()}));
    Ok(UserView::from(&*user))
}

async fn update(
    api: &Api,
    caller: &Caller<UsersWrite>,
    (name, if_match): (&str, Option<&str>),
    body: UserChange,
) -> Result<UserView, Fault> {
    let change = PersonChange {
        email: body.email.map(|email| (!email.is_empty()).then_some(email)),
        role: body.role.as_deref().map(role).transpose()?,
        active: body.active,
        mqtt_allow: body.mqtt_allow.map(|allow| permissions("/mqtt_allow", allow)).transpose()?,
    };
    let people = &api.access.people;
    let before = people.get(name).ok_or_else(|| Fault::not_found("user"))?;
    let version = etag::version(if_match)?;
    let after = people.change(name, version, change, &caller.principal).await?;
    caller.note(json!({"before": said(&before), "after": said(&after)}));
    if !after.active {
        caller::cut(api, &api.access.cut_user(name));
    }
    Ok(UserView::from(&*after))
}

/// What the audit log says of a user.
fn said(user: &User) -> serde_json::Value {
    json!({
        "email": user.email,
        "role": user.role.as_str(),
        "active": user.active,
        "mqtt_allow": user.mqtt_allow,
    })
}

async fn delete(api: &Api, caller: &Caller<UsersWrite>, name: &str) -> Result<(), Fault> {
    api.access.people.delete(name, &caller.principal).await?;
    caller::cut(api, &api.access.cut_user(name));
    Ok(())
}

async fn set_password(
    api: &Api,
    caller: &Caller<UsersWrite>,
    name: &str,
    body: PasswordBody,
) -> Result<(), Fault> {
    api.access.people.set_password(name, &body.password, &caller.principal).await?;
    caller::cut(api, &api.access.cut_user(name));
    Ok(())
}

async fn end_sessions(api: &Api, caller: &Caller<UsersWrite>, name: &str) -> Result<(), Fault> {
    let user = api.access.people.get(name).ok_or_else(|| Fault::not_found("user"))?;
    if !caller.principal.scopes.covers(user.role.scopes()) {
        return Err(crate::access::AccessError::Beyond.into());
    }
    Ok(api.access.people.end_all_sessions(user.id, None).await?)
}

fn role(word: &str) -> Result<Role, Fault> {
    let wrong = || Fault::invalid("/role", "a role is viewer, operator or admin");
    Role::parse(word).ok_or_else(wrong)
}

/// Longest list of permissions.
const PERMISSIONS_MAX: usize = 100;

pub(super) fn permissions(pointer: &str, texts: Vec<String>) -> Result<Vec<Permission>, Fault> {
    if texts.len() > PERMISSIONS_MAX {
        return Err(Fault::invalid(pointer, format!("at most {PERMISSIONS_MAX} permissions")));
    }
    let permission = |(at, text)| {
        Permission::try_from(text)
            .map_err(|error| Fault::invalid(&format!("{pointer}/{at}"), error))
    };
    texts.into_iter().enumerate().map(permission).collect()
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        Self {
            name: user.name.to_string(),
            email: user.email.clone(),
            role: user.role.as_str().to_owned(),
            active: user.active,
            mqtt_allow: user.mqtt_allow.clone(),
            created_at: Time(user.created_at),
            updated_at: Time(user.updated_at),
        }
    }
}
