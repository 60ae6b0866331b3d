//! Short texts: names and titles.

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use unicode_normalization::UnicodeNormalization;

use super::Invalid;

/// What a name with invisible characters is refused with.
pub(in crate::domain) const INVISIBLE: Invalid = Invalid(
    "must not contain invisible characters or characters that change the direction of text",
);

/// A name or a title: 1 to 128 characters, trimmed, in Unicode NFC.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Label(String);

impl Label {
    /// The maximum length in characters.
    pub const MAX_CHARS: usize = 128;

    /// Trims and normalizes `raw`, the name of somebody or something.
    ///
    /// # Errors
    /// [`Invalid`] when it is too long, has control or invisible characters, or no letter or digit.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let name = Self::parse_title(raw)?;
        if name.0.chars().any(char::is_alphanumeric) {
            Ok(name)
        } else {
            Err(Invalid("must contain a letter or a digit"))
        }
    }

    /// Trims and normalizes `raw`, a title, which may be no more than a dash.
    ///
    /// # Errors
    /// [`Invalid`] when nothing is left, when it is too long or has control or invisible characters.
    pub fn parse_title(raw: &str) -> Result<Self, Invalid> {
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
        if name.chars().any(is_invisible) {
            return Err(INVISIBLE);
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

/// Whether a name with that character may look like another name: it is not seen, or it changes the
/// direction of text. These are the default-ignorable code points of Unicode, every bidirectional
/// control among them.
pub(in crate::domain) fn is_invisible(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

#[cfg(test)]
mod tests {
    use icu_properties::props::BidiControl;

    use super::*;

    #[test]
    fn what_is_not_seen_or_changes_the_direction_of_text_is_in_no_name() {
        // Soft hyphen, Arabic letter mark, zero width space, joiners, overrides, isolates, a filler,
        // a variation selector, a byte order mark, a tag.
        let hidden = "\u{ad}\u{61c}\u{200b}\u{200c}\u{200d}\u{202a}\u{202e}\u{2066}\u{2069}\u{3164}\u{fe0f}\u{feff}\u{e0041}";
        for c in hidden.chars() {
            for text in [format!("A{c}da"), format!("{c}Ada"), format!("Ada{c}")] {
                assert_eq!(Label::parse(&text), Err(INVISIBLE), "{text:?}");
                assert_eq!(Label::parse_title(&text), Err(INVISIBLE), "{text:?}");
            }
        }
        let bidi = CodePointSetData::new::<BidiControl>();
        assert!(bidi.iter_ranges().flatten().filter_map(char::from_u32).all(is_invisible));
    }

    #[test]
    fn a_name_has_a_letter_or_a_digit_of_any_script_and_a_title_need_not() {
        for name in ["Ada", "7", "北京", "محمد", "नेहा", "O'Brien-Ng", "Zoë 🎉", "٣"]
        {
            assert_eq!(Label::parse(name).unwrap().as_str(), name);
        }
        for title in ["-", "🎉", "…", "?"] {
            assert!(Label::parse(title).is_err(), "{title}");
            assert_eq!(Label::parse_title(title).unwrap().as_str(), title);
        }
        assert!(Label::parse_title("  ").is_err());
    }
}
