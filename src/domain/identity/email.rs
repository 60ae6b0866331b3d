//! E-mail addresses as account names.

use email_address::{EmailAddress, Options};
use unicode_normalization::UnicodeNormalization;

use crate::domain::Invalid;

/// An e-mail address, trimmed, in Unicode NFC and lower case; unique across the platform.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Email(String);

impl Email {
    /// The maximum length in bytes (RFC 5321, 4.5.3.1.3, without the angle brackets).
    pub const MAX_BYTES: usize = 254;

    /// Parses `raw` as an RFC 5321 address with a domain of at least two labels.
    ///
    /// # Errors
    /// [`Invalid`] for anything else.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        const INVALID: Invalid = Invalid("must be an e-mail address such as ada@example.com");
        let email: String = raw.trim().nfc().collect::<String>().to_lowercase();
        if email.len() > Self::MAX_BYTES || email.chars().any(char::is_control) {
            return Err(INVALID);
        }
        let options =
            Options::default().without_display_text().without_domain_literal().with_required_tld();
        EmailAddress::parse_with_options(&email, options).map_err(|_| INVALID)?;
        Ok(Self(email))
    }

    /// Wraps an address that was read from the database.
    #[must_use]
    pub const fn from_stored(stored: String) -> Self {
        Self(stored)
    }

    /// The normalized address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Addresses are personal data, so debug output, and with it a log line, never contains one.
impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Email(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::hostile::{almost, any_text};

    #[test]
    fn addresses_are_trimmed_and_lower_cased() {
        assert_eq!(Email::parse(" Ada@Example.COM ").unwrap().as_str(), "ada@example.com");
    }

    #[test]
    fn malformed_addresses_are_refused() {
        let long = format!("{}@example.com", "a".repeat(250));
        for raw in
            ["", "ada", "ada@", "@b.c", "a@b", "Ada <a@b.c>", "a@[1.2.3.4]", "a\u{0}@b.co", &long]
        {
            assert!(Email::parse(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn debug_output_hides_the_address() {
        assert!(!format!("{:?}", Email::parse("ada@example.com").unwrap()).contains("ada"));
    }

    proptest! {
        #[test]
        fn hostile_addresses_are_refused_or_parse_to_themselves(
            raw in prop_oneof![any_text(), almost("[A-Za-zÄß.+]{1,12}@[a-zü]{1,9}[.][a-z]{2,4}")],
        ) {
            if let Ok(email) = Email::parse(&raw) {
                prop_assert!(email.as_str().len() <= Email::MAX_BYTES);
                prop_assert!(!email.as_str().chars().any(char::is_control));
                let again = Email::parse(email.as_str()).map(|again| again.0);
                prop_assert_eq!(again, Ok(email.0));
            }
        }
    }
}
