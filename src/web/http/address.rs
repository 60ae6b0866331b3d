//! The client's address. `X-Forwarded-For` counts only from configured proxies.

use std::{
    future::{Ready, ready},
    net::{IpAddr, Ipv4Addr},
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};

use crate::{error::Error, web::Shared};

/// The address that a request comes from.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct ClientAddress(pub(in crate::web) IpAddr);

impl FromRequest for ClientAddress {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

impl ClientAddress {
    /// The address before the first untrusted hop.
    pub(in crate::web) fn of(request: &HttpRequest) -> Self {
        // Only requests of tests have no socket.
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.ip());
        // A proxy may add another header line instead of extending the client's.
        let lines = request.headers().get_all("x-forwarded-for");
        let forwarded: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        let trusted = request
            .app_data::<web::Data<Shared>>()
            .map_or(&[][..], |shared| &shared.server.trusted_proxies);
        Self(client_address(peer, &forwarded.join(","), trusted))
    }
}

/// Each proxy appends the address of its client, so the list is read from its end, until an address
/// is not a trusted proxy.
fn client_address(peer: IpAddr, forwarded: &str, trusted: &[IpAddr]) -> IpAddr {
    let mut address = peer;
    for hop in forwarded.rsplit(',') {
        if !trusted.contains(&address) {
            break;
        }
        match hop.trim().parse() {
            Ok(hop) => address = hop,
            Err(_) => break,
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxy = [ip("10.0.0.1"), ip("10.0.0.2")];
        let cases = [
            ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
            ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("10.0.0.1", "1.2.3.4, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
            ("10.0.0.1", "spoofed, rubbish", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
        ];
        for (peer, forwarded, expected) in cases {
            assert_eq!(client_address(ip(peer), forwarded, &proxy), ip(expected), "{forwarded:?}");
        }
    }
}
