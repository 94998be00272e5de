//! Who may do what: connect, publish, subscribe, receive, and use the HTTP surface.
//!
//! The `gatekeeper` answers the broker: it knows a client by its certificate (`tls` has verified it)
//! or its `password`, slows those that fail (`throttle`), and judges topics by `rules`. Nobody may
//! publish where the broker itself speaks, whatever the rules say. `api_keys` is the HTTP surface's.

mod api_keys;
mod gatekeeper;
mod password;
mod rules;
mod throttle;

pub use api_keys::{ApiKey, ApiKeys, Caller, Grant};
pub use gatekeeper::Gatekeeper;
pub use password::hash_password;
