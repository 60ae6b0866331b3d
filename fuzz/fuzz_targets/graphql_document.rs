//! Documents of GraphQL that nest in every way that the grammar knows: the process has to live on.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tenantry::web::graphql::GraphQl;

static API: LazyLock<GraphQl> = LazyLock::new(|| GraphQl::new(true));

/// What a document is made of; a byte of the input chooses one, the next says how often it stands.
const PARTS: [&str; 28] = [
    "{", "}", "[", "]", "(", ")", "a ", "a:", "$a", "\"", "\"\"\"", "\\", "#", "\n", "@a", "...",
    " on Query ", "query", "mutation", "fragment a on Query", "!", "=", "1", "null ", "__schema",
    "types", "fields", "event(id:",
];

fuzz_target!(|input: Vec<(u8, u16)>| {
    let mut document = String::new();
    for (part, times) in input {
        let part = PARTS[usize::from(part) % PARTS.len()];
        document.push_str(&part.repeat(usize::from(times % 4_096)));
        if document.len() > 1 << 20 {
            break;
        }
    }
    let _ = API.accepts(&document);
});
