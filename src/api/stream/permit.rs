//! What a caller may listen to, and for how long.
//!
//! Each kind of event has its scope. What a stream does not ask for by name and its caller may not
//! see is left out; what it asks for is refused. A stream ends when its caller may no longer listen:
//! the key is revoked, the session ended, the user disabled, a scope taken away.

use poem::{Request, http::StatusCode};

use crate::{
    access::{Access, Principal, Scope},
    api::{caller::unauthorized, problem::Fault},
    live::{Filter, Kind, Kinds},
};

pub(super) struct Permit {
    principal: Principal,
}

fn scope(kind: Kind) -> Scope {
    match kind {
        Kind::Readings => Scope::DataRead,
        Kind::Presence => Scope::DevicesRead,
        Kind::Alarms => Scope::AlarmsRead,
        Kind::Messages => Scope::MqttRead,
    }
}

/// Whether there is anything that `principal` may listen to.
pub(super) fn may_listen(principal: &Principal) -> bool {
    Kind::ALL.into_iter().any(|kind| principal.may(scope(kind)))
}

impl Permit {
    pub(super) fn of(request: &Request) -> Result<Self, Fault> {
        let principal = request.extensions().get::<Principal>().cloned();
        Ok(Self { principal: principal.ok_or_else(unauthorized)? })
    }

    /// What of `filter` may be listened to; `is_asked`: its kinds were named.
    pub(super) fn confine(&self, filter: Filter, is_asked: bool) -> Result<Filter, Fault> {
        let mut kinds = filter.kinds;
        for kind in Kind::ALL.into_iter().filter(|kind| filter.kinds.contains(*kind)) {
            let scope = scope(kind);
            if self.principal.may(scope) {
                continue;
            }
            kinds = kinds.without(Kinds::NONE.with(kind));
            if is_asked || kinds == Kinds::NONE {
                let detail = format!("{} need the scope {scope}", kind.word());
                return Err(Fault::new(StatusCode::FORBIDDEN, detail));
            }
        }
        Ok(Filter { kinds, ..filter })
    }

    /// Whether what was permitted still is.
    pub(super) fn holds(&self, access: &Access, filter: &Filter) -> bool {
        access.present(&self.principal).is_some_and(|present| {
            let listened = Kind::ALL.into_iter().filter(|kind| filter.kinds.contains(*kind));
            listened.into_iter().all(|kind| present.may(scope(kind)))
        })
    }
}
