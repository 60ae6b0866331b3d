//! What a client sent, inside of a sentence to that client: a few words of it, never all.

use std::borrow::Cow;

/// The most characters of input that a message or the name of a field repeats.
pub const QUOTED: usize = 100;

const CUT: &str = " ...";

/// The text, or its beginning where it is longer than anybody wants to read again.
#[must_use]
pub fn quote(text: &str) -> Cow<'_, str> {
    cut(text, QUOTED)
}

/// The first `most` characters, and a sign that there were more.
#[must_use]
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}{CUT}", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::hostile::any_text, *};

    #[test]
    fn what_is_short_is_quoted_whole_and_what_is_long_begins_the_same() {
        assert_eq!(quote("Eve"), "Eve");
        assert_eq!(quote(&"é".repeat(QUOTED)), "é".repeat(QUOTED));
        assert_eq!(quote(&"é".repeat(QUOTED + 1)), format!("{} ...", "é".repeat(QUOTED)));
    }

    proptest! {
        #[test]
        fn hostile_texts_are_cut_between_characters(raw in any_text(), most in 0..20_usize) {
            let cut = cut(&raw, most);
            prop_assert!(cut.chars().count() <= most + CUT.len());
            prop_assert!(raw.starts_with(cut.strip_suffix(CUT).unwrap_or(&cut)) || *cut == raw);
        }
    }
}
