//! What one request may ask for, beside depth and complexity. The library checks these only after
//! steps that follow every fragment wherever it is spread: a few fragments that spread each other
//! twice keep it busy for hours. So this is checked first, and looks at each fragment once.

use std::collections::HashMap;

use async_graphql::{
    Name, Positioned,
    parser::types::{Directive, ExecutableDocument, Field, Selection, SelectionSet},
};
use async_graphql_value::Value;

use crate::error::{Error, Result};

/// How deep fields may nest; a client's introspection query goes down about fifteen levels.
pub(super) const DEPTH: usize = 20;
/// How many fields a request may ask for, each as often as its page has items.
pub(super) const COMPLEXITY: usize = 20_000;
/// How many requests one body may hold.
pub(super) const BATCH: usize = 10;
/// Aliases let one request ask for the same thing again and again.
const ALIASES: usize = 50;
/// So does a field of the root that is named again and again: each time it is answered anew.
const ROOTS: usize = 50;
/// How many fields and fragments a document may name, each fragment as often as it is spread.
const SELECTIONS: usize = 2_000;
const FRAGMENTS: usize = 100;
/// How deep selections may nest, fragments among them.
const NESTING: usize = 32;
/// How many fields introspection may give. The query by which tools read a whole schema gives about
/// 16,000; types within the fields of types within fields would give millions.
const INTROSPECTION: usize = 20_000;

/// How many words a document may have: fields, arguments, directives and their values, each fragment
/// as often as it is spread. The library reports what is wrong with a word as often as it meets it.
const WORDS: usize = 20_000;
/// How many operations a document may hold: each of them follows its fragments anew.
const OPERATIONS: usize = 10;
/// How many variables an operation may have.
const VARIABLES: usize = 100;
/// How many arguments a field or a directive may have: each is looked for among all of them.
const ARGUMENTS: usize = 64;
/// What the copies of variables may take in memory: the library makes one for every use, before it
/// looks at any type.
const COPIES: usize = 16 * 1024 * 1024;

/// Refuses a document that uses variables so often if they are as large as that, in bytes.
pub(super) fn copies(uses: usize, bytes: usize) -> Result<()> {
    if uses.saturating_mul(bytes) > COPIES {
        return Err(Error::field("query", "must use variables of that size less often"));
    }
    Ok(())
}

/// Refuses documents that cost more to check than to answer, or ask for the same thing too often.
pub(super) fn check(document: &ExecutableDocument) -> Result<()> {
    if document.fragments.len() > FRAGMENTS {
        return Err(Error::field("query", "must have at most 100 fragments"));
    }
    if document.operations.iter().count() > OPERATIONS {
        return Err(Error::field("query", "must have at most 10 operations"));
    }
    let mut counter = Counter { document, known: HashMap::new() };
    let mut all = Weight::default();
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        if operation.variable_definitions.len() > VARIABLES {
            return Err(Error::field("query", "must have at most 100 variables"));
        }
        all.add(counter.set(&operation.selection_set.node, 0)?);
        all.words = all.words.saturating_add(directives(&operation.directives)?);
    }
    // Those that no operation reaches are checked all the same.
    for name in document.fragments.keys() {
        let Weight { selections, words, .. } = counter.fragment(name, 0)?;
        if selections > SELECTIONS {
            all.selections = all.selections.max(selections);
        }
        all.words = all.words.saturating_add(words);
    }
    match all {
        _ if all.aliases > ALIASES => Err(Error::field("query", "must have at most 50 aliases")),
        _ if all.roots > ROOTS => Err(Error::field("query", "must have at most 50 root fields")),
        _ if all.selections > SELECTIONS => {
            Err(Error::field("query", "must have at most 2000 fields"))
        }
        _ if all.words > WORDS => Err(Error::field("query", "must have at most 20000 words")),
        _ if all.introspection > INTROSPECTION => {
            Err(Error::field("query", "must ask for less of the schema at once"))
        }
        _ => Ok(()),
    }
}

/// How much a selection set holds, with everything that is spread into it.
#[derive(Clone, Copy, Default)]
struct Weight {
    selections: usize,
    aliases: usize,
    words: usize,
    /// Fields that stand in the set itself.
    roots: usize,
    /// How many fields the set would give as a part of the schema, where lists have members.
    members: usize,
    /// How many fields of the schema it does give.
    introspection: usize,
}

struct Counter<'d> {
    document: &'d ExecutableDocument,
    /// What is known of fragments; nothing yet of one that is being looked at.
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

/// How many members a list of the schema has, about: its types, and what one of them has on average.
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

/// The weight of a field with what it selects.
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

/// The words of arguments and their values.
fn arguments(arguments: &[(Positioned<Name>, Positioned<Value>)]) -> Result<usize> {
    if arguments.len() > ARGUMENTS {
        return Err(Error::field("query", "must have at most 64 arguments at one place"));
    }
    Ok(arguments.iter().map(|(_, value)| 1 + values(&value.node)).sum())
}

fn directives(given: &[Positioned<Directive>]) -> Result<usize> {
    let words = given.iter().map(|directive| Ok(1 + arguments(&directive.node.arguments)?));
    words.sum()
}

/// How many values a value holds; brackets were counted before, so it is not deep.
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
            return Err(Error::field("query", "must nest at most 32 levels"));
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
        // The library has words for a fragment that does not exist.
        let Some((name, fragment)) = self.document.fragments.get_key_value(name) else {
            return Ok(Weight::default());
        };
        match self.known.insert(name.as_str(), None) {
            Some(None) => Err(Error::field("query", "must have no fragment that spreads itself")),
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
