//! Passwords before they are hashed.

use secrecy::{ExposeSecret, SecretString};

use crate::domain::Invalid;

/// A password of 8 to 128 Unicode characters, never truncated (OWASP ASVS 5, 6.2: length, no
/// composition rules).
#[derive(Clone, Debug)]
pub struct Password(SecretString);

/// The PHC string of a password's hash.
#[derive(Clone, Debug)]
pub struct PasswordDigest(SecretString);

impl Password {
    /// The minimum length of a new password, in characters.
    pub const MIN_CHARS: usize = 8;
    /// The maximum length of a new password, in characters.
    pub const MAX_CHARS: usize = 128;

    /// Parses a new password.
    ///
    /// # Errors
    /// [`Invalid`] if it is too short or too long.
    pub fn parse(raw: String) -> Result<Self, Invalid> {
        let secret = SecretString::from(raw);
        let chars = secret.expose_secret().chars().count();
        if chars < Self::MIN_CHARS {
            return Err(Invalid("must have at least 8 characters"));
        }
        if chars > Self::MAX_CHARS {
            return Err(Invalid("must have at most 128 characters"));
        }
        Ok(Self(secret))
    }

    /// Wraps a password to verify. Returns `None` if it is too long to have ever been set, so that
    /// a longer body cannot cause more hashing.
    #[must_use]
    pub fn attempt(raw: String) -> Option<Self> {
        let secret = SecretString::from(raw);
        (secret.expose_secret().chars().count() <= Self::MAX_CHARS).then_some(Self(secret))
    }

    /// A password that no account can have, for an attempt that costs as much as any other.
    #[must_use]
    pub fn longest() -> Self {
        Self(" ".repeat(Self::MAX_CHARS + 1).into())
    }

    /// The plain text, only for hashing.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PasswordDigest {
    /// Wraps a PHC string.
    #[must_use]
    pub fn new(phc: String) -> Self {
        Self(phc.into())
    }

    /// The PHC string, only for storage and verification.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts_characters() {
        assert!(Password::parse("🔑".repeat(8)).is_ok());
        assert!(Password::parse("🔑".repeat(7)).is_err());
        assert!(Password::parse("a".repeat(128)).is_ok());
        assert!(Password::parse("a".repeat(129)).is_err());
        assert!(Password::attempt("a".repeat(129)).is_none());
        assert!(Password::attempt(String::new()).is_some());
    }
}
