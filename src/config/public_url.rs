//! The base URL of links in answers. It comes from the settings or the socket, never from a request,
//! which may name any host.

use std::{fmt, net::SocketAddr};

use serde::Deserialize;
use url::Url;

/// An `http` or `https` URL without user, query, fragment or trailing slash.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct PublicUrl(String);

/// The text is not a valid [`PublicUrl`].
#[derive(Debug, thiserror::Error)]
#[error(
    "PUBLIC_URL must be an http or https address without a query or fragment, such as \
     https://api.example.com"
)]
pub struct NoPublicUrl;

impl PublicUrl {
    /// The URL of a listening socket; the loopback address if it listens on all addresses.
    #[must_use]
    pub fn of_socket(mut address: SocketAddr) -> Self {
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        Self(format!("http://{address}"))
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = NoPublicUrl;

    fn try_from(raw: String) -> Result<Self, NoPublicUrl> {
        let url = Url::parse(raw.trim()).map_err(|_| NoPublicUrl)?;
        let good = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !good {
            return Err(NoPublicUrl);
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::hostile::{almost, any_text};

    fn parse(raw: &str) -> Option<String> {
        PublicUrl::try_from(raw.to_owned()).ok().map(|url| url.to_string())
    }

    #[test]
    fn server_addresses_are_accepted_and_lose_their_trailing_slash() {
        for (raw, expected) in [
            ("https://api.example.com", "https://api.example.com"),
            ("https://api.example.com/", "https://api.example.com"),
            (" http://10.0.0.1:8080/ ", "http://10.0.0.1:8080"),
            ("https://example.com/api//", "https://example.com/api"),
            ("HTTPS://Example.COM:443/Api/", "https://example.com/Api"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(parse(raw).as_deref(), Some(expected), "{raw}");
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for raw in [
            "",
            "api.example.com",
            "//api.example.com",
            "ftp://api.example.com",
            "file:///etc/passwd",
            "mailto:ada@example.com",
            "https://",
            "https://api.example.com?a=b",
            "https://api.example.com/#top",
            "https://ada:secret@example.com",
            "http://localhost:99999",
        ] {
            assert_eq!(parse(raw), None, "{raw}");
        }
    }

    #[test]
    fn the_url_of_a_socket_on_all_addresses_is_the_loopback_address() {
        for (socket, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("10.0.0.1:80", "http://10.0.0.1:80"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            ("[::]:8080", "http://[::1]:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(PublicUrl::of_socket(socket.parse().unwrap()).to_string(), url);
        }
    }

    proptest! {
        #[test]
        fn hostile_addresses_are_refused_or_stay_the_same(
            raw in prop_oneof![any_text(), almost("https?://[a-z.]{1,20}(:[0-9]{1,5})?(/[a-z]{0,5}){0,3}")],
        ) {
            if let Some(url) = parse(&raw) {
                prop_assert!(url.starts_with("http") && !url.contains(['?', '#']), "{}", url);
                prop_assert_eq!(parse(&url), Some(url));
            }
        }
    }
}
