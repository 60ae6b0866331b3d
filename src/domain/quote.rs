//! Quotes client input in messages, cut to a limit.

use std::borrow::Cow;

/// The maximum number of input characters that a message or a field name repeats.
pub const QUOTED: usize = 100;

const CUT: &str = " ...";

/// The text, cut to [`QUOTED`] characters.
#[must_use]
pub fn quote(text: &str) -> Cow<'_, str> {
    cut(text, QUOTED)
}

/// The first `most` characters, followed by ` ...` if there were more.
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
    fn short_texts_are_quoted_whole_and_long_ones_are_cut() {
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
