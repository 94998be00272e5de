//! From where a request comes, if it came through proxies that are trusted.
//!
//! Pure. A proxy appends the address that it saw to `X-Forwarded-For`, so the list is walked from the
//! right: what a trusted hop wrote is believed, what stands left of the first stranger is hearsay.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The client's address. What can't be read makes it the peer's own.
pub(super) fn client<'a>(
    peer: IpAddr,
    trusted: &[IpNet],
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> IpAddr {
    let peer = peer.to_canonical();
    let mut client = peer;
    for hop in lines.rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        if !is_trusted(client, trusted) {
            return client;
        }
        match address(hop) {
            Some(address) => client = address,
            None => return peer,
        }
    }
    client
}

pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    address
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(peer: &str, trusted: &[&str], lines: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let lines = lines.iter().map(|line| line.as_bytes());
        client(peer.parse().unwrap(), &trusted, lines).to_string()
    }

    #[test]
    fn only_what_trusted_hops_wrote_is_believed() {
        let proxies = &["10.0.0.0/8", "fd00::/8"][..];
        for (peer, lines, client) in [
            ("192.0.2.9", &["203.0.113.7"][..], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.7,10.0.0.2"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("fd00::1", &["[2001:db8::5]:80, [fd00::2]"], "2001:db8::5"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["unknown, 203.0.113.7"], "203.0.113.7"),
        ] {
            assert_eq!(walk(peer, proxies, lines), client, "{peer} {lines:?}");
        }
        assert_eq!(walk("10.0.0.1", &[], &["203.0.113.7"]), "10.0.0.1");
    }

    proptest! {
        /// Whatever a client writes itself stands left of what the proxy adds, and changes nothing.
        #[test]
        fn a_client_can_not_choose_its_address(
            written in proptest::collection::vec("[ -~]{0,40}", 0..4),
            real in any::<[u8; 4]>().prop_filter("a stranger", |bytes| bytes[0] != 10),
        ) {
            let real = IpAddr::from(real);
            let added = real.to_string();
            let lines: Vec<&str> =
                written.iter().map(String::as_str).chain([added.as_str()]).collect();
            prop_assert_eq!(walk("10.1.2.3", &["10.0.0.0/8"], &lines), real.to_string());
            let joined = lines.join(",");
            prop_assert_eq!(walk("10.1.2.3", &["10.0.0.0/8"], &[&joined]), real.to_string());
        }

        #[test]
        fn a_stranger_stays_who_it_is(lines in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let peer: IpAddr = "192.0.2.1".parse().unwrap();
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            prop_assert_eq!(client(peer, &trusted, lines.iter().map(Vec::as_slice)), peer);
        }

        /// Junk never makes another address than one that stands in it.
        #[test]
        fn junk_is_survived(lines in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let peer: IpAddr = "10.0.0.1".parse().unwrap();
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            client(peer, &trusted, lines.iter().map(Vec::as_slice));
        }
    }
}
