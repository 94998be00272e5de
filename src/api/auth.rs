//! Signing in and out, one's own account, one's own sessions.

use poem::Request;
use poem_openapi::{Object, OpenApi, param::Path};
use serde::Deserialize;
use serde_json::json;

use super::{
    Api, State, Tag,
    body::Body,
    caller::{self, Admin, Caller, Known},
    page::Page,
    problem::{Answer, Changed, Done, Fault, Shown, SignedIn},
    users::UserView,
    wire::Time,
};
use crate::{
    access::{AccessError, Actor, AuditEntry, Scopes, Tokens, User},
    store::SessionRow,
};

pub(super) struct Auth;

/// Who signs in
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct Login {
    username: String,
    password: String,
}

/// To go on with
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct Refresh {
    refresh_token: String,
}

/// What a sign-in gives
#[derive(Debug, Clone, Object)]
struct TokensView {
    /// Sent as `Authorization: Bearer`
    access_token: String,
    /// `bearer`
    token_type: String,
    /// Seconds that the access token is good for
    expires_in: i64,
    /// Good for one refresh, which gives the next one. Presented a second time, it ends the session
    refresh_token: String,
    user: UserView,
}

/// Who calls, and what they may do
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct Me {
    /// `user`, `key`, `console`, or `nobody` where no credentials are needed
    kind: String,
    name: String,
    scopes: Vec<String>,
    /// The only device that a key speaks for
    device: Option<String>,
    /// For users
    user: Option<UserView>,
}

/// What users may change of their own
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct MeChange {
    /// "" removes it
    email: Option<String>,
}

#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
/// One's own password
struct PasswordChange {
    current_password: String,
    /// At least 10 characters, and not one that everybody tries
    new_password: String,
}

/// A sign-in that goes on
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct SessionView {
    id: i64,
    created_at: Time,
    used_at: Time,
    expires_at: Time,
    /// What the client calls itself
    user_agent: Option<String>,
    /// From where it was used last
    address: Option<String>,
    /// The one that asks
    current: bool,
}

#[OpenApi]
impl Auth {
    /// Sign in
    ///
    /// Needs no credentials. Too many wrong passwords are answered 429 for a while.
    #[oai(path = "/api/auth/login", method = "post", tag = "Tag::Access", operation_id = "login")]
    async fn login(
        &self,
        api: State<'_>,
        request: &Request,
        body: Body<Login>,
    ) -> SignedIn<TokensView> {
        match body.0 {
            Ok(body) => login(&api, request, body).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Get the next tokens
    ///
    /// Needs no credentials but the refresh token.
    #[oai(
        path = "/api/auth/refresh",
        method = "post",
        tag = "Tag::Access",
        operation_id = "refresh_tokens"
    )]
    async fn refresh(
        &self,
        api: State<'_>,
        request: &Request,
        body: Body<Refresh>,
    ) -> SignedIn<TokensView> {
        match body.0 {
            Ok(body) => refresh(&api, request, body).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Sign out
    ///
    /// Ends the session: its tokens are good for nothing any more.
    #[oai(path = "/api/auth/logout", method = "post", tag = "Tag::Access", operation_id = "logout")]
    async fn logout(&self, caller: Caller<Known>, api: State<'_>) -> Done {
        end_session(&api, &caller, None).await.into()
    }

    /// Show who calls
    #[oai(path = "/api/auth/me", method = "get", tag = "Tag::Access", operation_id = "get_me")]
    async fn me(&self, caller: Caller<Known>, api: State<'_>) -> Shown<Me> {
        Ok(me(&api, &caller)).into()
    }

    /// Change one's own account
    #[oai(path = "/api/auth/me", method = "patch", tag = "Tag::Access", operation_id = "update_me")]
    async fn update_me(
        &self,
        caller: Caller<Known>,
        api: State<'_>,
        body: Body<MeChange>,
    ) -> Changed<UserView> {
        match body.0 {
            Ok(body) => update_me(&api, &caller, body).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Change one's own password
    ///
    /// All other sessions end, and MQTT connections with it.
    #[oai(
        path = "/api/auth/password",
        method = "post",
        tag = "Tag::Access",
        operation_id = "change_password"
    )]
    async fn change_password(
        &self,
        caller: Caller<Known>,
        api: State<'_>,
        request: &Request,
        body: Body<PasswordChange>,
    ) -> Done {
        match body.0 {
            Ok(body) => change_password(&api, &caller, request, body).await.into(),
            Err(fault) => Done::from(Err(fault)),
        }
    }

    /// List one's own sessions
    ///
    /// The one used last first; at most 50.
    #[oai(
        path = "/api/auth/sessions",
        method = "get",
        tag = "Tag::Access",
        operation_id = "list_own_sessions"
    )]
    async fn sessions(&self, caller: Caller<Known>, api: State<'_>) -> Answer<Page<SessionView>> {
        caller.user().map(|(user, _, current)| sessions_of(&api, user, Some(current))).into()
    }

    /// End one of one's own sessions
    #[oai(
        path = "/api/auth/sessions/:id",
        method = "delete",
        tag = "Tag::Access",
        operation_id = "end_own_session"
    )]
    async fn end_session(&self, caller: Caller<Known>, api: State<'_>, id: Path<i64>) -> Done {
        end_session(&api, &caller, Some(id.0)).await.into()
    }

    /// Replace the key that signs access tokens
    ///
    /// Tokens that are out stay good until they expire.
    #[oai(
        path = "/api/auth/rotate-signing-key",
        method = "post",
        tag = "Tag::Access",
        operation_id = "rotate_signing_key"
    )]
    async fn rotate(&self, _caller: Caller<Admin>, api: State<'_>) -> Done {
        api.access.rotate_token_key().map_err(Fault::from).into()
    }
}

async fn login(api: &Api, request: &Request, body: Login) -> Result<TokensView, Fault> {
    let origin = caller::origin(request);
    let tokens = api.access.people.sign_in(&body.username, &body.password, &origin).await?;
    caller::noted(request).set_actor(actor(&tokens.user));
    Ok(tokens.into())
}

fn actor(user: &User) -> Actor {
    Actor::User { id: user.id, name: user.name.to_string(), session: 0 }
}

async fn refresh(api: &Api, request: &Request, body: Refresh) -> Result<TokensView, Fault> {
    let origin = caller::origin(request);
    match api.access.people.refresh(&body.refresh_token, &origin).await {
        Ok(tokens) => Ok(tokens.into()),
        Err(AccessError::Reused(user)) => {
            let entry = AuditEntry {
                actor: Actor::Anybody,
                action: "refresh_token_reused".to_owned(),
                resource: request.uri().path().to_owned(),
                detail: Some(json!({"user": &*user, "session": "ended"}).to_string()),
                address: Some(origin.address.to_string()),
                request_id: None,
            };
            api.access.note(entry).await?;
            Err(AccessError::Reused(user).into())
        }
        Err(error) => Err(error.into()),
    }
}

fn me(api: &Api, caller: &Caller<Known>) -> Me {
    let principal = &caller.principal;
    let user = caller.user().ok().and_then(|(_, name, _)| api.access.people.get(name));
    Me {
        kind: principal.actor.kind().to_owned(),
        name: principal.actor.name().to_owned(),
        scopes: words(principal.scopes),
        device: principal.device.as_ref().map(ToString::to_string),
        user: user.map(|user| UserView::from(&*user)),
    }
}

pub(super) fn words(scopes: Scopes) -> Vec<String> {
    scopes.iter().map(|scope| scope.to_string()).collect()
}

async fn update_me(api: &Api, caller: &Caller<Known>, body: MeChange) -> Result<UserView, Fault> {
    let (_, name, _) = caller.user()?;
    let Some(email) = body.email else {
        let user = api.access.people.get(name).ok_or_else(|| Fault::not_found("user"))?;
        return Ok(UserView::from(&*user));
    };
    caller.note(json!({"email": email}));
    let email = (!email.is_empty()).then_some(email);
    let user = api.access.people.change_email(name, email).await?;
    Ok(UserView::from(&*user))
}

async fn change_password(
    api: &Api,
    caller: &Caller<Known>,
    request: &Request,
    body: PasswordChange,
) -> Result<(), Fault> {
    let (_, name, session) = caller.user()?;
    let passwords = (body.current_password.as_str(), body.new_password.as_str());
    let origin = caller::origin(request);
    let changed = api.access.people.change_password(name, passwords, session, &origin).await;
    changed.map_err(|error| match error {
        AccessError::Wrong => Fault::invalid("/current_password", "it is another"),
        AccessError::Invalid { reason, .. } => Fault::invalid("/new_password", reason),
        error => error.into(),
    })?;
    caller::cut(api, &api.access.cut_user(name));
    Ok(())
}

pub(super) fn sessions_of(api: &Api, user: i64, current: Option<i64>) -> Page<SessionView> {
    let sessions = api.access.people.sessions_of(user);
    Page::new(sessions.into_iter().map(|session| view(session, current)).collect(), None)
}

fn view(session: SessionRow, current: Option<i64>) -> SessionView {
    SessionView {
        id: session.id,
        created_at: Time(session.created_at),
        used_at: Time(session.last_use.used_at),
        expires_at: Time(session.last_use.expires_at),
        user_agent: session.last_use.user_agent,
        address: session.last_use.address,
        current: current == Some(session.id),
    }
}

/// `None`: the caller's own.
async fn end_session(api: &Api, caller: &Caller<Known>, id: Option<i64>) -> Result<(), Fault> {
    let (user, _, current) = caller.user()?;
    Ok(api.access.people.end_session(user, id.unwrap_or(current)).await?)
}

impl From<Tokens> for TokensView {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access,
            token_type: "bearer".to_owned(),
            expires_in: tokens.expires_in,
            refresh_token: tokens.refresh,
            user: UserView::from(&*tokens.user),
        }
    }
}
