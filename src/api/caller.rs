//! Who calls, and whether they may: each operation names its scope in its signature.
//!
//! The guard has recognised the caller; [`Caller`] is the only way to the principal, and asks for the
//! scope. The document takes what it says of an operation's security from the same type.

use std::{marker::PhantomData, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use poem::{IntoResponse, Request, RequestBody, http::StatusCode};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::Value;

use super::{Api, problem::Fault};
use crate::{
    access::{Actor, Origin, Principal, Scope},
    mqtt::{ClientId, ReasonCode},
};

/// What an operation needs.
pub(super) trait Need: Send + Sync {
    /// `None`: to be known.
    const SCOPE: Option<Scope>;
    /// The scope's word; [`SIGNED_IN`] where there is none.
    const WORD: &'static str;
}

/// What stands in the document's place of a scope where none is needed.
pub(super) const SIGNED_IN: &str = "signed-in";

macro_rules! needs {
    ($($name:ident = $word:literal,)*) => {
        $(
            pub(super) struct $name;

            impl Need for $name {
                const SCOPE: Option<Scope> = Some(Scope::$name);
                const WORD: &'static str = $word;
            }
        )*

        #[cfg(test)]
        const WORDS: &[(Scope, &str)] = &[$((Scope::$name, $word),)*];
    };
}

needs! {
    TelemetryWrite = "telemetry:write",
    DataRead = "data:read",
    DataWrite = "data:write",
    DevicesRead = "devices:read",
    DevicesWrite = "devices:write",
    AlarmsRead = "alarms:read",
    AlarmsWrite = "alarms:write",
    MqttWrite = "mqtt:write",
    ServiceRead = "service:read",
    UsersWrite = "users:write",
    KeysWrite = "keys:write",
    AuditRead = "audit:read",
    Admin = "admin",
}

/// Nothing but to be known.
pub(super) struct Known;

impl Need for Known {
    const SCOPE: Option<Scope> = None;
    const WORD: &'static str = SIGNED_IN;
}

/// What a request tells the audit log beyond its operation. The guard puts one into each request.
#[derive(Clone, Default)]
pub(super) struct Noted(Arc<Mutex<Note>>);

#[derive(Default)]
pub(super) struct Note {
    /// Where the request itself has shown who acts.
    pub(super) actor: Option<Actor>,
    pub(super) detail: Option<Value>,
}

impl Noted {
    pub(super) fn take(&self) -> Note {
        std::mem::take(&mut *self.0.lock())
    }

    pub(super) fn set_actor(&self, actor: Actor) {
        self.0.lock().actor = Some(actor);
    }

    pub(super) fn set_detail(&self, detail: Value) {
        self.0.lock().detail = Some(detail);
    }
}

/// Somebody who may do what the operation needs.
pub(super) struct Caller<N> {
    pub(super) principal: Principal,
    noted: Noted,
    need: PhantomData<N>,
}

impl<N: Need> Caller<N> {
    /// Tells the audit log what has changed; never a secret.
    pub(super) fn note(&self, detail: Value) {
        self.noted.set_detail(detail);
    }

    /// Under which name what is done stands; nobody's where nobody has to be known.
    pub(super) fn author(&self) -> Option<String> {
        let actor = &self.principal.actor;
        (*actor != Actor::Anybody).then(|| actor.name().to_owned())
    }

    /// The user who is signed in: its number, name and session.
    pub(super) fn user(&self) -> Result<(i64, &str, i64), Fault> {
        match &self.principal.actor {
            Actor::User { id, name, session } => Ok((*id, name, *session)),
            Actor::Key { .. } | Actor::Console | Actor::Anybody => {
                let detail = "this is for users who have signed in";
                Err(Fault::new(StatusCode::FORBIDDEN, detail))
            }
        }
    }

    fn of(request: &Request) -> Result<Self, Fault> {
        let Some(principal) = request.extensions().get::<Principal>() else {
            return Err(unauthorized());
        };
        if let Some(scope) = N::SCOPE
            && !principal.may(scope)
        {
            return Err(Fault::new(StatusCode::FORBIDDEN, format!("this needs the scope {scope}")));
        }
        let noted = request.extensions().get::<Noted>().cloned().unwrap_or_default();
        Ok(Self { principal: principal.clone(), noted, need: PhantomData })
    }
}

pub(super) fn unauthorized() -> Fault {
    let detail = "send a key as X-API-Key, or a key or an access token as Authorization: Bearer";
    Fault::new(StatusCode::UNAUTHORIZED, detail)
}

impl<'a, N: Need> ApiExtractor<'a> for Caller<N> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    /// Not a scheme yet: `document` makes schemes and scopes of it.
    fn security_schemes() -> Vec<&'static str> {
        vec![N::WORD]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Self::of(request).map_err(|fault| poem::Error::from_response(fault.into_response()))
    }
}

/// From where a request comes, for those who sign in.
pub(super) fn origin(request: &Request) -> Origin {
    let user_agent = request.headers().get(poem::http::header::USER_AGENT);
    Origin {
        address: address(request).unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
        user_agent: user_agent.and_then(|text| text.to_str().ok()).map(str::to_owned),
    }
}

pub(super) fn address(request: &Request) -> Option<IpAddr> {
    request.remote_addr().as_socket_addr().map(|address| address.ip().to_canonical())
}

/// What a request that nobody has to be known for tells the audit log.
pub(super) fn noted(request: &Request) -> Noted {
    request.extensions().get::<Noted>().cloned().unwrap_or_default()
}

/// Ends the MQTT connections of those who may not be connected any more, or not as they are.
pub(super) fn cut(api: &Api, clients: &[ClientId]) {
    for client in clients {
        api.broker.disconnect(client, ReasonCode::NOT_AUTHORIZED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_scopes() {
        for (scope, word) in WORDS {
            assert_eq!(scope.as_str(), *word);
        }
    }
}
