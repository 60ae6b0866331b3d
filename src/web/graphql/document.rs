//! Limits on the raw text of a document, checked before it is parsed. The library's parser recurses
//! into nested brackets, so a few thousand of them would overflow a worker's stack and end the
//! process. Every later step of the library costs at least as much as there are tokens.

use crate::error::{Error, Result};

/// The maximum nesting of brackets of any kind: selections, arguments, lists, objects and types.
pub(super) const NESTING: usize = 64;
/// The maximum number of names, numbers, strings and signs in a document.
const TOKENS: usize = 20_000;
/// The maximum length of a name or a number, in bytes.
const WORD: usize = 256;

/// The number of variable names in a document.
///
/// Strings and comments are recognized by the rules of the grammar (GraphQL specification, October
/// 2021, section 2.1), so this counts the tokens that the parser sees.
///
/// # Errors
/// [`Error::Validation`] of `query` if the document nests too deep, has too many or too long
/// tokens, or has a string that does not end.
pub(super) fn check(document: &str) -> Result<usize> {
    let mut rest = document.as_bytes();
    let (mut depth, mut tokens, mut variables) = (0_usize, 0_usize, 0_usize);
    while let Some((&byte, after)) = rest.split_first() {
        tokens += usize::from(!matches!(byte, b' ' | b',' | b'\t' | b'\r' | b'\n' | b'#'));
        if tokens > TOKENS {
            return Err(refused("must have at most 20000 words and signs"));
        }
        rest = match byte {
            b'{' | b'[' | b'(' => {
                depth += 1;
                if depth > NESTING {
                    return Err(refused("must nest at most 64 brackets"));
                }
                after
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                after
            }
            b'$' => {
                variables += 1;
                after
            }
            b'"' => after_string(after).ok_or_else(|| refused("has a string that does not end"))?,
            b'#' => &after[after.iter().take_while(|b| !matches!(b, b'\r' | b'\n')).count()..],
            _ if is_word(byte) => {
                let length = rest.iter().take_while(|b| is_word(**b)).count();
                if length > WORD {
                    return Err(refused("must have names of at most 256 characters"));
                }
                &rest[length..]
            }
            _ => after,
        };
    }
    Ok(variables)
}

/// An error of the field `query`.
pub(super) fn refused(message: &str) -> Error {
    Error::field("query", message)
}

/// A character of a name, or of a number without signs and points: `0-0` is two numbers.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The text after a string whose first quotation mark has been read; `None` if it does not end.
fn after_string(text: &[u8]) -> Option<&[u8]> {
    if let Some(mut block) = text.strip_prefix(b"\"\"") {
        loop {
            block = match block {
                [b'"', b'"', b'"', after @ ..] => return Some(after),
                [b'\\', b'"', b'"', b'"', after @ ..] | [_, after @ ..] => after,
                [] => return None,
            };
        }
    }
    let mut rest = text;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\r' | b'\n', ..] | [] => return None,
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
        };
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::hostile::{almost, any_text};

    /// Everything that nests in the grammar: how it opens and how it closes.
    const SHAPES: [(&str, &str); 8] = [
        ("{ a ", "} "),
        ("{ ... on Query ", "} "),
        ("[", "]"),
        ("{ a: ", "} "),
        ("{ a: [", "]} "),
        ("[{ a: ", "}] "),
        ("[[", "!]!]!"),
        ("(a: ", ") "),
    ];
    /// The places where they may occur.
    const PLACES: [(&str, &str); 7] = [
        ("", ""),
        ("{ a(b: ", ") }"),
        ("{ a @b(c: ", ") }"),
        ("query($a: Int = ", ") { a }"),
        ("query($a: ", ") { a }"),
        ("query @a(b: ", ") { a }"),
        ("fragment f on Query @a(b: ", ") { a }"),
    ];

    fn nested() -> impl Strategy<Value = String> {
        let shape = || prop::sample::select(SHAPES.to_vec());
        let place = prop::sample::select(PLACES.to_vec());
        let levels = prop_oneof![0..80_usize, 1_000..20_000_usize];
        (place, shape(), shape(), levels, any::<bool>()).prop_map(
            |((start, end), one, two, levels, closed)| {
                let open = format!("{}{}", one.0, two.0).repeat(levels);
                let close = if closed {
                    format!("{}{}", two.1, one.1).repeat(levels)
                } else {
                    String::new()
                };
                format!("{start}{open}1{close}{end}")
            },
        )
    }

    proptest! {
        #[test]
        fn hostile_nesting_of_every_shape_never_reaches_the_end_of_the_stack(
            document in prop_oneof![nested(), almost("\\{ a\\(b: \"[^\"]{0,9}\"\\) \\{ c \\} \\}"), any_text()],
        ) {
            if check(&document).is_ok() {
                // At most the size of a worker's stack.
                let parsing = std::thread::Builder::new().stack_size(1 << 20);
                parsing.spawn(move || drop(parse_query(&document))).unwrap().join().unwrap();
            }
        }
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_nest() {
        let many = "[".repeat(1_000);
        for fine in [
            format!("{{ a(b: \"{many}\") }}"),
            format!("{{ a(b: \"\\\"{many}\") }}"),
            format!("{{ a(b: \"\"\"{many} \" \\\"\"\" {many}\n\"\"\") }}"),
            format!("{{ a # {many}\n }}"),
            format!("{{ a(b: \"\") # {many}\n }}"),
            "{ a } ".repeat(100),
        ] {
            assert!(check(&fine).is_ok(), "{fine:.60}");
        }
    }

    #[test]
    fn brackets_after_misleading_strings_and_comments_are_counted() {
        let many = "[".repeat(1_000);
        for wrong in [
            format!("{{ a(b: \"\\\\\", c: {many}"),
            format!("{{ a(b: \"\"\"\"\"\", c: {many}"),
            format!("{{ a(b: \"\"\"\\\\\"\"\" \"\"\", c: {many}"),
            format!("{{ a(b: \"#\", c: {many}"),
            format!("# \"\n{{ a(b: {many}"),
            format!("# \"\r{{ a(b: {many}"),
            format!("{{ a(b: \"x\n{many}\") }}"),
            format!("{{ a(b: \"\"\"{many}"),
            format!("]]]]{many}"),
            "a".repeat(257),
            "@a ".repeat(TOKENS),
            "0-".repeat(TOKENS),
            "...a".repeat(TOKENS / 2),
            "a\u{feff}".repeat(TOKENS / 2),
        ] {
            assert!(check(&wrong).is_err(), "{wrong:.60}");
        }
    }
}
