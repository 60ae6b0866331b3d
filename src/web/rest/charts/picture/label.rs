//! Text as a picture can hold it: clean, cut to its room, and safe inside XML.

/// No text is longer than this, however narrow its characters are.
const MAX_CHARS: usize = 120;
const JOINER: char = '\u{200d}';
/// Marks that stand on the character before them.
#[rustfmt::skip]
const MARKS: &[(u32, u32)] = &[
    (0x300, 0x36f), (0x483, 0x489), (0x591, 0x5bd), (0x64b, 0x65f), (0x900, 0x903), (0x93a, 0x93c), (0x93e, 0x94f),
    (0xe31, 0xe31), (0xe34, 0xe3a), (0xe47, 0xe4e), (0x1ab0, 0x1aff), (0x1dc0, 0x1dff), (0x200c, 0x200d),
    (0x20d0, 0x20ff), (0xfe00, 0xfe0f), (0xfe20, 0xfe2f), (0x1f3fb, 0x1f3ff), (0xe0100, 0xe01ef),
];
/// Characters as wide as they are high, and pictures, which are wider.
#[rustfmt::skip]
const WIDE: &[(u32, u32)] =
    &[(0x1100, 0x115f), (0x2e80, 0xa4cf), (0xac00, 0xd7a3), (0xf900, 0xfaff), (0xff00, 0xff60), (0x20000, 0x3ffff)];
const PICTURES: &[(u32, u32)] = &[(0x1f000, 0x1faff)];

/// Drops what XML forbids or what would turn the text around, and makes every run of white space
/// one space.
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

/// Cuts clean text to so many hundredths of its font size, with an ellipsis, never inside a
/// composed character.
pub(super) fn fit(text: &str, room: u32) -> String {
    let ellipsis = width('…');
    let (mut used, mut end, mut joined) = (0, 0, false);
    for (count, (at, c)) in text.char_indices().enumerate() {
        let own = if joined { 0 } else { width(c) };
        if own > 0 && used + ellipsis <= room {
            end = at;
        }
        used += own;
        if used > room || count >= MAX_CHARS {
            return format!("{}…", text[..end].trim_end());
        }
        joined = c == JOINER;
    }
    text.to_owned()
}

/// A rough width for the usual sans-serif fonts, in hundredths of the font size; nothing for a
/// combining mark.
pub(super) fn width(c: char) -> u32 {
    let code = u32::from(c);
    let within =
        |ranges: &[(u32, u32)]| ranges.iter().any(|range| (range.0..=range.1).contains(&code));
    match c {
        _ if within(MARKS) => 0,
        _ if within(WIDE) => 105,
        _ if within(PICTURES) => 125,
        _ if "mwMW@…—".contains(c) => 95,
        _ if "fijlrtI.,;:'|!()[]- ".contains(c) => 37,
        _ if c.is_uppercase() || "<>=+~#%&".contains(c) => 75,
        _ => 60,
    }
}

/// Escapes text for element content and for attribute values.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

/// A number with its thousands set apart, and a noun in the right number: `1 person`, `5,000
/// people`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// A number with its thousands set apart.
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
