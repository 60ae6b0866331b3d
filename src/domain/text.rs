//! Short texts: names and titles.

use unicode_normalization::UnicodeNormalization;

use super::Invalid;

/// A name or a title: 1 to 128 characters, trimmed, in Unicode NFC.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Label(String);

impl Label {
    /// The maximum length in characters.
    pub const MAX_CHARS: usize = 128;

    /// Trims and normalizes `raw`.
    ///
    /// # Errors
    /// [`Invalid`] if the text is empty or too long, or has control characters.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let name: String = raw.trim().nfc().collect();
        if name.is_empty() {
            return Err(Invalid("must not be empty"));
        }
        if name.chars().nth(Self::MAX_CHARS).is_some() {
            return Err(Invalid("must have at most 128 characters"));
        }
        if name.chars().any(char::is_control) {
            return Err(Invalid("must not contain control characters"));
        }
        Ok(Self(name))
    }

    /// Wraps a text that was read from the database.
    #[must_use]
    pub const fn from_stored(stored: String) -> Self {
        Self(stored)
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}
