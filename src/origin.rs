//! Which web pages may open a WebSocket here.
//!
//! A browser lets any page open one to any host and sends along what it has for that host; only the
//! `Origin` header says whose page it was (RFC 6455 §10.2). Programs send none and are not concerned.

/// What the browser of a page that has no origin of its own says, such as that of a local file.
const OPAQUE: &str = "null";
const EVERY: &str = "*";
const DEFAULT_PORTS: [(&str, &str); 4] =
    [("http://", ":80"), ("https://", ":443"), ("ws://", ":80"), ("wss://", ":443")];

/// Whether a page of `origin` may connect: it came from the host and port that it now asks for, or
/// is listed. The scheme is not compared: a proxy may have taken TLS off on the way here.
pub fn admits(listed: &[String], origin: &str, host: Option<&str>) -> bool {
    let origin = origin.to_ascii_lowercase();
    let (scheme_len, default_port) = parts(&origin);
    let bare = without(&origin, default_port);
    if listed.iter().any(|l| l == EVERY || without(&l.to_ascii_lowercase(), default_port) == bare) {
        return true;
    }
    let Some(host) = host.filter(|_| origin != OPAQUE) else {
        return false;
    };
    let host = host.to_ascii_lowercase();
    bare.get(scheme_len..).is_some_and(|own| !own.is_empty() && own == without(&host, default_port))
}

/// The length of an origin's scheme with its `://`, and the port that it does not write.
fn parts(origin: &str) -> (usize, Option<&'static str>) {
    let scheme_len = origin.find("://").map_or(0, |at| at + 3);
    let known = DEFAULT_PORTS.iter().find(|(scheme, _)| origin.starts_with(scheme));
    (scheme_len, known.map(|(_, port)| *port))
}

fn without<'a>(authority: &'a str, port: Option<&str>) -> &'a str {
    port.and_then(|port| authority.strip_suffix(port)).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::admits;

    #[test]
    fn the_host_that_is_asked_for_is_no_stranger() {
        for (origin, host, is_admitted) in [
            ("http://broker:9001", "broker:9001", true),
            ("https://Broker:9001", "broker:9001", true),
            ("http://broker", "broker", true),
            ("http://broker", "broker:80", true),
            ("https://broker", "broker", true),
            ("https://broker", "broker:443", true),
            ("https://broker:443", "broker", true),
            ("http://[::1]:9001", "[::1]:9001", true),
            ("http://[::80]", "[::80]", true),
            ("http://broker:9002", "broker:9001", false),
            ("http://broker", "broker:9001", false),
            ("https://broker", "broker:80", false),
            ("http://evil", "broker", false),
            ("http://evil.broker", "broker", false),
            ("http://broker.evil", "broker", false),
            ("null", "null", false),
            ("", "", false),
            ("http://", "", false),
        ] {
            assert_eq!(admits(&[], origin, Some(host)), is_admitted, "{origin} at {host}");
        }
        assert!(!admits(&[], "http://broker", None));
    }

    #[test]
    fn others_are_listed_word_for_word() {
        let listed = ["https://panel.example".to_owned(), "http://Panel.example:8080".to_owned()];
        for (origin, is_admitted) in [
            ("https://panel.example", true),
            ("https://panel.example:443", true),
            ("http://panel.example:8080", true),
            ("http://panel.example", false),
            ("https://panel.example:8080", false),
            ("https://panel.example.evil", false),
            ("null", false),
        ] {
            assert_eq!(admits(&listed, origin, Some("broker:9001")), is_admitted, "{origin}");
        }
        let every = ["*".to_owned()];
        assert!(admits(&every, "null", Some("broker")) && admits(&every, "https://x", None));
    }
}
