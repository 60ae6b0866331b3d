//! Hostile inputs for property tests: arbitrary texts, and almost valid ones.

use std::time::{Duration, Instant};

use proptest::{collection::vec, prelude::*, sample::Index};

/// Any text: printable characters, characters that parsers treat specially, or lossily decoded
/// bytes.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,80}",
        vec(odd(), 0..80).prop_map(String::from_iter),
        vec(any::<u8>(), 0..120).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

/// A valid text with zero to four random changes.
pub(crate) fn almost(valid: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (valid, vec(changes(), 0..5)).prop_map(|(text, changes)| {
        let mut chars: Vec<char> = text.chars().collect();
        for change in changes {
            change.make(&mut chars);
        }
        chars.into_iter().collect()
    })
}

/// Runs `work` and returns its result; panics if it took 10 seconds or more.
pub(crate) fn soon<T>(work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let answer = work();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}, more than 10 s");
    answer
}

#[derive(Clone, Debug)]
enum Change {
    Insert(Index, char),
    Replace(Index, char),
    Remove(Index),
    Swap(Index, Index),
    Cut(Index),
    Repeat(Index, Index, usize),
    OtherCase(Index),
}

impl Change {
    fn make(self, text: &mut Vec<char>) {
        if let Self::Insert(at, c) = self {
            text.insert(at.index(text.len() + 1), c);
            return;
        }
        if text.is_empty() {
            return;
        }
        let len = text.len();
        match self {
            Self::Insert(..) => {}
            Self::Replace(at, c) => text[at.index(len)] = c,
            Self::Remove(at) => drop(text.remove(at.index(len))),
            Self::Swap(one, other) => text.swap(one.index(len), other.index(len)),
            Self::Cut(at) => text.truncate(at.index(len)),
            Self::Repeat(from, to, times) => {
                let (from, to) = (from.index(len), to.index(len));
                let part = text[from.min(to)..=from.max(to)].repeat(times);
                text.splice(from..from, part);
            }
            Self::OtherCase(at) => {
                let c = &mut text[at.index(len)];
                *c = if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            }
        }
    }
}

fn changes() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), odd()).prop_map(|(at, c)| Change::Insert(at, c)),
        (at(), odd()).prop_map(|(at, c)| Change::Replace(at, c)),
        at().prop_map(Change::Remove),
        (at(), at()).prop_map(|(one, other)| Change::Swap(one, other)),
        at().prop_map(Change::Cut),
        (at(), at(), 1_usize..4).prop_map(|(from, to, times)| Change::Repeat(from, to, times)),
        at().prop_map(Change::OtherCase),
    ]
}

/// Characters that some parser treats specially, and any others.
fn odd() -> impl Strategy<Value = char> {
    let special = " \t\r\n\0\u{7f}\u{85}\u{a0}\u{200b}\u{202e}\u{2028}\u{feff}\u{fffd}\u{301}\u{30c}\
        \u{345}\u{3a3}\u{130}\u{131}\u{1e9e}\u{212a}٣０.,;:@+-_/\\\"'<>()[]{}=%$#!?*&|~^`TZ";
    prop_oneof![
        3 => prop::char::range('0', '9'),
        3 => prop::char::range('!', '~'),
        4 => prop::sample::select(special.chars().collect::<Vec<_>>()),
        2 => any::<char>(),
    ]
}
