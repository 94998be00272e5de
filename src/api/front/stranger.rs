//! Keeps web pages of elsewhere off a surface that is open to whoever reaches it.
//!
//! A browser sends a page's simple requests to any host, this machine included. With credentials that is
//! no danger: no page has them, and no browser adds them. Without, the surface would be open to every page
//! that somebody on this machine looks at, so `Origin` has to be this server's or on the list; and, where
//! being on this machine is what lets one in, `Host` has to be this machine's: a page whose own name leads
//! here (DNS rebinding) still says that name.

use std::net::IpAddr;

use poem::{
    Request,
    http::{StatusCode, header},
};

use super::super::problem::Fault;
use crate::origin;

pub(super) struct Strangers {
    /// Whose pages are welcome.
    pub(super) origins: Vec<String>,
    /// Whether one is let in for being on this machine.
    pub(super) is_local: bool,
}

impl Strangers {
    /// # Errors
    /// What is told to a page of elsewhere.
    pub(super) fn refuse(&self, request: &Request) -> Result<(), Fault> {
        let told = |name| request.headers().get(name).and_then(|text| text.to_str().ok());
        let host = told(header::HOST);
        let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        let page =
            request.headers().get(header::ORIGIN).map(|text| text.to_str().unwrap_or("null"));
        if page.is_some_and(|page| !origin::admits(&self.origins, page, host)) {
            let detail =
                "without credentials pages of elsewhere may not use this: see http.allow_origins";
            return Err(Fault::new(StatusCode::FORBIDDEN, detail));
        }
        if self.is_local && !host.is_none_or(is_this_machine) {
            let detail =
                "without credentials this is for this machine: ask for localhost, or an address";
            return Err(Fault::new(StatusCode::FORBIDDEN, detail));
        }
        Ok(())
    }
}

/// An address, or a name that every machine has for itself.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(is_local: bool, host: &str, page: Option<&str>) -> u16 {
        let origins = vec!["https://panel.example".to_owned()];
        let mut request = Request::builder().header(header::HOST, host);
        if let Some(page) = page {
            request = request.header(header::ORIGIN, page);
        }
        let refused = Strangers { origins, is_local }.refuse(&request.finish());
        refused.map_or_else(|fault| fault.status.as_u16(), |()| 200)
    }

    #[test]
    fn pages_of_elsewhere_are_kept_off() {
        for (host, page, local, anywhere) in [
            ("127.0.0.1:8080", None, 200, 200),
            ("localhost:8080", None, 200, 200),
            ("[::1]:8080", None, 200, 200),
            ("a.localhost", None, 200, 200),
            ("127.0.0.1:8080", Some("http://127.0.0.1:8080"), 200, 200),
            ("127.0.0.1:8080", Some("https://panel.example"), 200, 200),
            ("127.0.0.1:8080", Some("http://127.0.0.1:3000"), 403, 403),
            ("127.0.0.1:8080", Some("https://evil.example"), 403, 403),
            ("127.0.0.1:8080", Some("null"), 403, 403),
            // Its name leads here.
            ("evil.example:8080", Some("http://evil.example:8080"), 403, 200),
            ("evil.example:8080", None, 403, 200),
            ("localhost.evil.example", None, 403, 200),
            ("127.0.0.1.evil.example", None, 403, 200),
            ("", None, 403, 200),
        ] {
            assert_eq!(status(true, host, page), local, "{host} {page:?}");
            assert_eq!(status(false, host, page), anywhere, "{host} {page:?}");
        }
    }
}
