//! Organization names and the slugs that make them unique.

use std::ops::RangeInclusive;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::domain::{
    Invalid,
    text::{INVISIBLE, is_invisible},
};

/// The display name of an organization: 1 to 64 characters, trimmed, in Unicode NFC.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OrgName {
    text: String,
    slug: Slug,
}

/// Makes a name unique and names its collection: ASCII letters, digits and single `_`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Slug(String);

impl OrgName {
    /// The maximum length in characters.
    pub const MAX_CHARS: usize = 64;

    /// Trims and normalizes `raw`.
    ///
    /// # Errors
    /// [`Invalid`] when nothing is left, when it is too long, when it has control or invisible
    /// characters (which would let one name look like another, Unicode TR 36), or when it has no
    /// letter or digit to make a slug of.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let name = Self::parse_sought(raw)?;
        if name.text.chars().any(is_invisible) { Err(INVISIBLE) } else { Ok(name) }
    }

    /// As [`OrgName::parse`], for an organization that is there: it may have got its name before
    /// invisible characters were refused.
    ///
    /// # Errors
    /// [`Invalid`] for what has never been a name.
    pub fn parse_sought(raw: &str) -> Result<Self, Invalid> {
        let raw = raw.trim();
        // ASCII text is already in NFC, and most names are ASCII.
        let text: String = if raw.is_ascii() { raw.to_owned() } else { raw.nfc().collect() };
        if text.is_empty() {
            return Err(Invalid("must not be empty"));
        }
        if text.chars().nth(Self::MAX_CHARS).is_some() {
            return Err(Invalid("must have at most 64 characters"));
        }
        if text.chars().any(char::is_control) {
            return Err(Invalid("must not contain control characters"));
        }
        if text.chars().any(is_bidi_override) {
            return Err(INVISIBLE);
        }
        let slug = Slug::of(&text).ok_or(Invalid("must contain a letter or a digit"))?;
        Ok(Self { text, slug })
    }

    /// The display name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `name` reads as the same name: equal except for case, accents and word separators.
    /// Unlike in slugs, neither name is cut, and only Latin letters are transliterated.
    #[must_use]
    pub fn reads_like(&self, name: &str) -> bool {
        reading(&self.text) == reading(name)
    }

    /// The slug, which is unique.
    #[must_use]
    pub const fn slug(&self) -> &Slug {
        &self.slug
    }
}

impl Slug {
    /// The maximum length in characters; longer slugs are cut.
    pub const MAX_CHARS: usize = 48;

    /// Wraps a slug that was read from the database.
    #[must_use]
    pub const fn from_stored(stored: String) -> Self {
        Self(stored)
    }

    /// The slug as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Transliterates letters and digits of any script one by one, drops combining marks, and
    /// replaces every run of other characters with one `_`. Transliteration comes before
    /// lower-casing, because `to_lowercase` of `İ` would leave a combining dot.
    fn of(name: &str) -> Option<Self> {
        let mut slug = String::with_capacity(Self::MAX_CHARS);
        for c in name.chars() {
            let ascii = if c.is_alphanumeric() {
                deunicode::deunicode_char(c).unwrap_or("_")
            } else if is_combining_mark(c) {
                ""
            } else {
                "_"
            };
            for c in ascii.chars() {
                if c.is_ascii_alphanumeric() {
                    slug.push(c.to_ascii_lowercase());
                } else if !slug.is_empty() && !slug.ends_with('_') {
                    slug.push('_');
                }
            }
        }
        slug.truncate(Self::MAX_CHARS);
        slug.truncate(slug.trim_end_matches('_').len());
        (!slug.is_empty()).then_some(Self(slug))
    }
}

/// The form in which two names are compared: lower case, without accents, with `_` as the
/// separator.
fn reading(name: &str) -> String {
    const ACCENTS: RangeInclusive<char> = '\u{300}'..='\u{36F}';
    const LAST_LATIN: char = '\u{24F}';
    let mut reading = String::with_capacity(name.len());
    for c in name.nfkd().filter(|c| !ACCENTS.contains(c)) {
        if c <= LAST_LATIN && c.is_alphanumeric() {
            // Some accents have no decomposition: the strokes of `ł` and `ø`.
            let ascii = deunicode::deunicode_char(c).unwrap_or_default();
            reading.extend(ascii.chars().map(|c| c.to_ascii_lowercase()));
        } else if c.is_alphanumeric() || is_combining_mark(c) {
            reading.extend(c.to_uppercase().flat_map(char::to_lowercase));
        } else if !reading.is_empty() && !reading.ends_with('_') {
            reading.push('_');
        }
    }
    reading.truncate(reading.trim_end_matches('_').len());
    reading
}

const fn is_bidi_override(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::hostile::{almost, any_text};

    fn slug(raw: &str) -> String {
        OrgName::parse(raw).unwrap().slug().as_str().to_owned()
    }

    #[test]
    fn names_become_readable_slugs() {
        for (name, expected) in [
            ("Acme", "acme"),
            ("  Acme,  Inc. ", "acme_inc"),
            ("a/b", "a_b"),
            ("$x", "x"),
            ("system.", "system"),
            ("Ärger & Söhne", "arger_sohne"),
            ("北京", "bei_jing"),
            ("İstanbul", "istanbul"),
            ("ısparta", "isparta"),
            ("x\u{302}y", "xy"),
            ("شركة", "shrk"),
        ] {
            assert_eq!(slug(name), expected, "{name}");
        }
    }

    #[test]
    fn names_without_letters_or_with_hidden_controls_are_refused() {
        for name in ["", "   ", "..", "🦄🔥", "a\u{0}b", "a\nb", "abc\u{202E}", "__"] {
            assert!(OrgName::parse(name).is_err(), "{name:?}");
        }
        // These were taken once, and are still found.
        for name in ["a\u{200d}b", "a\u{ad}b", "a\u{200f}b", "♥\u{fe0f} a", "a\u{3164}b"] {
            assert_eq!(OrgName::parse(name), Err(INVISIBLE), "{name:?}");
            assert!(OrgName::parse_sought(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn length_counts_characters_not_bytes() {
        assert!(OrgName::parse(&"é".repeat(64)).is_ok());
        assert!(OrgName::parse(&"é".repeat(65)).is_err());
        assert_eq!(slug(&"a".repeat(64)).len(), Slug::MAX_CHARS);
    }

    #[test]
    fn composed_and_decomposed_forms_are_the_same_name() {
        assert_eq!(OrgName::parse("e\u{301}").unwrap(), OrgName::parse("é").unwrap());
    }

    #[test]
    fn names_are_equal_except_for_case_accents_and_separators() {
        let alike = |one: &str, two: &str| OrgName::parse(one).unwrap().reads_like(two);
        for (one, two) in [
            ("Acme, Inc.", "ACME-inc!"),
            ("Ärger & Söhne", "arger sohne"),
            ("Łódź Straße", "lodz STRASSE"),
            ("İstanbul", "istanbul"),
            ("Αθήνα", "ΑΘΗΝΑ"),
            ("北京", "北京!"),
            ("Ａｃｍｅ", "acme"),
        ] {
            assert!(alike(one, two) && alike(two, one), "{one} and {two}");
        }
        let long = "a".repeat(Slug::MAX_CHARS);
        for (one, two) in [
            (format!("{long} north"), format!("{long} south")),
            (format!("{long}b"), long),
            ("北京".to_owned(), "背景".to_owned()),
            ("か".to_owned(), "が".to_owned()),
            ("Acme Inc".to_owned(), "AcmeInc".to_owned()),
            ("Acme 1".to_owned(), "Acme 2".to_owned()),
        ] {
            assert!(!alike(&one, &two) && !alike(&two, &one), "{one} and {two}");
        }
    }

    proptest! {
        #[test]
        fn hostile_names_read_like_themselves_and_not_like_longer_names(
            raw in prop_oneof![any_text(), almost("[A-Z][a-zäéß]{1,20} [&.] [A-Z]{2,30}")],
        ) {
            if let Ok(name) = OrgName::parse(&raw) {
                prop_assert!(name.reads_like(name.as_str()) && name.reads_like(&raw));
                let longer = format!("{raw} x");
                prop_assert!(!name.reads_like(&longer) && !name.reads_like(""));
            }
        }

        #[test]
        fn slugs_of_hostile_names_are_safe_for_a_collection_name_and_stable(
            raw in prop_oneof![any_text(), almost("[A-Z][a-zäéß]{1,20} [&.] [A-Z]{2,30}")],
        ) {
            if let Ok(name) = OrgName::parse(&raw) {
                let slug = name.slug().as_str();
                prop_assert!(!slug.is_empty() && slug.len() <= Slug::MAX_CHARS);
                prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
                prop_assert!(!slug.starts_with('_') && !slug.ends_with('_') && !slug.contains("__"));
                let again = OrgName::parse(slug).unwrap();
                prop_assert_eq!(again.slug().as_str(), slug);
                prop_assert_eq!(&OrgName::parse(name.as_str()).unwrap(), &name);
            }
        }
    }
}
