//! The client's address, which only configured proxies may speak for.

use std::{
    future::{Ready, ready},
    net::{IpAddr, Ipv4Addr},
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};

use crate::{error::Error, web::Shared};

/// Where a request comes from.
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
    /// Whom the request comes from, as far as the proxies that passed it on are trusted.
    pub(in crate::web) fn of(request: &HttpRequest) -> Self {
        // Only a test calls without a socket.
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.ip());
        // A proxy may add a line of its own instead of prolonging the client's.
        let lines = request.headers().get_all("x-forwarded-for");
        let forwarded: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        let trusted = request
            .app_data::<web::Data<Shared>>()
            .map_or(&[][..], |shared| &shared.server.trusted_proxies);
        Self(client_address(peer, &forwarded.join(","), trusted))
    }
}

/// Each proxy appends whom it heard from, so the list is believed from its end, for as long as
/// those who speak are trusted.
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
