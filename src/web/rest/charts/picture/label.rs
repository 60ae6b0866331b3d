//! Cleans text for a picture and cuts it to the available width.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// The maximum length of a text, however narrow its characters are.
const MAX_CHARS: usize = 120;
/// Emoji, which are wider than they are high.
const EMOJI: Range<char> = '\u{1f000}'..'\u{20000}';

/// Drops characters that XML forbids or that reverse text, and collapses white space.
pub(super) fn clean(raw: &str) -> String {
    let spaced = raw.replace(|c: char| c.is_whitespace() || c.is_control(), " ");
    let kept = spaced.replace(is_dropped, "");
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_dropped(c: char) -> bool {
    let code = u32::from(c);
    matches!(code, 0x61c | 0x200b | 0x200e | 0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff)
        || matches!(code, 0xfdd0..=0xfdef | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
        || code & 0xfffe == 0xfffe
}

/// Cuts clean text to `available` hundredths of its font size, with an ellipsis, never inside a
/// composed character.
pub(super) fn fit(text: &str, available: u32) -> String {
    let ellipsis = width("…");
    let (mut used, mut end, mut count) = (0, 0, 0);
    for (at, character) in text.grapheme_indices(true) {
        if used + ellipsis <= available {
            end = at;
        }
        used += character_width(character);
        count += character.chars().count();
        if used > available || count > MAX_CHARS {
            return format!("{}…", text[..end].trim_end());
        }
    }
    text.to_owned()
}

/// The approximate width in common sans-serif fonts, in hundredths of the font size.
pub(super) fn width(text: &str) -> u32 {
    text.graphemes(true).map(character_width).sum()
}

/// The terminal width distinguishes combining marks, narrow and wide characters. Some narrow ones
/// are much narrower or wider than the rest.
fn character_width(character: &str) -> u32 {
    let first = character.chars().next().unwrap_or_default();
    match character.width() {
        0 => 0,
        1 if "mwMW@…—".contains(first) => 95,
        1 if "fijlrtI.,;:'|!()[]- ".contains(first) => 37,
        1 if first.is_uppercase() || "<>=+~#%&".contains(first) => 75,
        1 => 60,
        _ if EMOJI.contains(&first) => 125,
        columns => u32::try_from(columns).map_or(u32::MAX, |columns| columns.saturating_mul(53)),
    }
}

/// A number with thousands separators and a noun in singular or plural: `1 person`, `5,000 people`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// A number with thousands separators.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
