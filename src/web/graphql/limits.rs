//! Limits on a document beyond depth and complexity. The library checks those two only after steps
//! that follow every fragment wherever it is spread: a few fragments that spread each other twice
//! keep it busy for hours. These limits are checked first and visit each fragment once.

use std::collections::HashMap;

use async_graphql::{
    Name, Positioned,
    parser::types::{Directive, ExecutableDocument, Field, Selection, SelectionSet},
};
use async_graphql_value::Value;

use super::document::refused;
use crate::error::Result;

/// The maximum depth of fields; a client's introspection query has about 15 levels.
pub(super) const DEPTH: usize = 20;
/// The maximum number of fields in an answer, each counted as often as its page has items.
pub(super) const COMPLEXITY: usize = 20_000;
/// The maximum number of requests in one body.
pub(super) const BATCH: usize = 10;
/// Aliases let one request repeat the same field.
const ALIASES: usize = 50;
/// So do root fields without aliases: the library resolves each repetition.
const ROOTS: usize = 50;
/// The maximum number of fields and fragments, each fragment counted as often as it is spread.
const SELECTIONS: usize = 2_000;
const FRAGMENTS: usize = 100;
/// The maximum nesting of selections, including fragments.
const NESTING: usize = 32;
/// The maximum number of fields that introspection returns. The query by which tools read a whole
/// schema returns about 16,000; types within the fields of types within fields would be millions.
const INTROSPECTION: usize = 20_000;

/// The maximum number of words (fields, arguments, directives and their values), each fragment
/// counted as often as it is spread. The library reports a wrong word as often as it meets it.
const WORDS: usize = 20_000;
/// The maximum number of operations: each follows its fragments again.
const OPERATIONS: usize = 10;
/// The maximum number of variables of an operation.
const VARIABLES: usize = 100;
/// The maximum number of arguments of a field or a directive: each is searched for among all.
const ARGUMENTS: usize = 64;
/// The maximum memory of all copies of variables, in bytes: the library copies a variable for every
/// use, before it checks types.
const COPIES: usize = 16 * 1024 * 1024;

/// Refuses a document that uses its variables, of `bytes` in total, too often.
pub(super) fn copies(uses: usize, bytes: usize) -> Result<()> {
    if uses.saturating_mul(bytes) > COPIES {
        return Err(refused("must use variables of that size less often"));
    }
    Ok(())
}

/// Refuses documents that are too expensive to check, or repeat fields too often.
pub(super) fn check(document: &ExecutableDocument) -> Result<()> {
    if document.fragments.len() > FRAGMENTS {
        return Err(refused("must have at most 100 fragments"));
    }
    if document.operations.iter().count() > OPERATIONS {
        return Err(refused("must have at most 10 operations"));
    }
    let mut counter = Counter { document, known: HashMap::new() };
    let mut all = Weight::default();
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        if operation.variable_definitions.len() > VARIABLES {
            return Err(refused("must have at most 100 variables"));
        }
        all.add(counter.set(&operation.selection_set.node, 0)?);
        all.words = all.words.saturating_add(directives(&operation.directives)?);
    }
    // The library also checks fragments that no operation spreads.
    for name in document.fragments.keys() {
        let Weight { selections, words, .. } = counter.fragment(name, 0)?;
        if selections > SELECTIONS {
            all.selections = all.selections.max(selections);
        }
        all.words = all.words.saturating_add(words);
    }
    match all {
        _ if all.aliases > ALIASES => Err(refused("must have at most 50 aliases")),
        _ if all.roots > ROOTS => Err(refused("must have at most 50 root fields")),
        _ if all.selections > SELECTIONS => Err(refused("must have at most 2000 fields")),
        _ if all.words > WORDS => Err(refused("must have at most 20000 words")),
        _ if all.introspection > INTROSPECTION => {
            Err(refused("must query less of the schema at once"))
        }
        _ => Ok(()),
    }
}

/// What a selection set contains, including the fragments spread in it.
#[derive(Clone, Copy, Default)]
struct Weight {
    selections: usize,
    aliases: usize,
    words: usize,
    /// Fields directly in the set.
    roots: usize,
    /// The number of fields the set would return within introspection, where lists have members.
    members: usize,
    /// The number of fields that introspection returns for it.
    introspection: usize,
}

struct Counter<'d> {
    document: &'d ExecutableDocument,
    /// The weights of fragments; `None` while a fragment is being visited.
    known: HashMap<&'d str, Option<Weight>>,
}

impl Weight {
    const fn add(&mut self, other: Self) {
        self.selections = self.selections.saturating_add(other.selections);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.words = self.words.saturating_add(other.words);
        self.roots = self.roots.saturating_add(other.roots);
        self.members = self.members.saturating_add(other.members);
        self.introspection = self.introspection.saturating_add(other.introspection);
    }
}

/// About how many members a list of the schema has; for those of a type, on average.
fn members_of(field: &str) -> usize {
    match field {
        "types" => 30,
        "fields" => 5,
        "directives" => 4,
        "inputFields" => 3,
        "enumValues" => 2,
        _ => 1,
    }
}

/// The weight of a field including its selection.
fn of_field(field: &Field, inner: Weight) -> Result<Weight> {
    let name = field.name.node.as_str();
    let members = inner.members.saturating_mul(members_of(name)).saturating_add(1);
    let given = if matches!(name, "__schema" | "__type") { members } else { 0 };
    let words = arguments(&field.arguments)? + directives(&field.directives)?;
    Ok(Weight {
        roots: 1,
        words: inner.words.saturating_add(words).saturating_add(1),
        aliases: inner.aliases + usize::from(field.alias.is_some()),
        members,
        introspection: inner.introspection.saturating_add(given),
        ..inner
    })
}

/// The number of words in arguments and their values.
fn arguments(arguments: &[(Positioned<Name>, Positioned<Value>)]) -> Result<usize> {
    if arguments.len() > ARGUMENTS {
        return Err(refused("must have at most 64 arguments at one place"));
    }
    Ok(arguments.iter().map(|(_, value)| 1 + values(&value.node)).sum())
}

fn directives(given: &[Positioned<Directive>]) -> Result<usize> {
    let words = given.iter().map(|directive| Ok(1 + arguments(&directive.node.arguments)?));
    words.sum()
}

/// The number of values in a value. The recursion is shallow: nesting was checked before.
fn values(value: &Value) -> usize {
    1 + match value {
        Value::List(items) => items.iter().map(values).sum(),
        Value::Object(fields) => fields.values().map(values).sum(),
        _ => 0,
    }
}

impl<'d> Counter<'d> {
    fn set(&mut self, set: &'d SelectionSet, depth: usize) -> Result<Weight> {
        if depth > NESTING {
            return Err(refused("must nest at most 32 levels"));
        }
        let mut weight = Weight { selections: set.items.len(), ..Weight::default() };
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let inner = self.set(&field.node.selection_set.node, depth + 1)?;
                    weight.add(of_field(&field.node, inner)?);
                }
                Selection::InlineFragment(fragment) => {
                    weight.words += 1 + directives(&fragment.node.directives)?;
                    weight.add(self.set(&fragment.node.selection_set.node, depth + 1)?);
                }
                Selection::FragmentSpread(spread) => {
                    weight.words += 1 + directives(&spread.node.directives)?;
                    weight.add(self.fragment(&spread.node.fragment_name.node, depth + 1)?);
                }
            }
        }
        Ok(weight)
    }

    fn fragment(&mut self, name: &str, depth: usize) -> Result<Weight> {
        // The library reports unknown fragments.
        let Some((name, fragment)) = self.document.fragments.get_key_value(name) else {
            return Ok(Weight::default());
        };
        match self.known.insert(name.as_str(), None) {
            Some(None) => Err(refused("must have no fragment that spreads itself")),
            Some(Some(weight)) => {
                self.known.insert(name.as_str(), Some(weight));
                Ok(weight)
            }
            None => {
                let mut weight = self.set(&fragment.node.selection_set.node, depth)?;
                weight.words += directives(&fragment.node.directives)?;
                self.known.insert(name.as_str(), Some(weight));
                Ok(weight)
            }
        }
    }
}
