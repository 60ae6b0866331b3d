//! What one request may ask for, beside depth and complexity.

use std::sync::Arc;

use async_graphql::{
    ServerResult, Variables,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery},
    parser::types::{ExecutableDocument, Selection, SelectionSet},
};

use super::failure::fail;
use crate::error::Error;

/// How deep fields may nest; a client's introspection query goes down about fifteen levels.
pub(super) const DEPTH: usize = 20;
/// How many fields a request may ask for, each as often as its page has items.
pub(super) const COMPLEXITY: usize = 20_000;
/// How many requests one body may hold.
pub(super) const BATCH: usize = 10;
/// Aliases let one request ask for the same thing again and again.
const ALIASES: usize = 50;

/// Refuses documents with too many aliases.
pub(super) struct AliasLimit;

impl ExtensionFactory for AliasLimit {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for AliasLimit {
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(ctx, query, variables).await?;
        let operations = document.operations.iter().map(|(_, o)| &o.node.selection_set.node);
        let fragments = document.fragments.values().map(|f| &f.node.selection_set.node);
        let aliases: usize = operations.chain(fragments).map(aliases_in).sum();
        if aliases > ALIASES {
            let error = Error::field("query", "must have at most 50 aliases");
            return Err(fail(error).into_server_error(async_graphql::Pos::default()));
        }
        Ok(document)
    }
}

/// The parser bounds the depth, so this ends.
fn aliases_in(set: &SelectionSet) -> usize {
    let count = |selection: &Selection| match selection {
        Selection::Field(field) => {
            let own = usize::from(field.node.alias.is_some());
            own + aliases_in(&field.node.selection_set.node)
        }
        Selection::InlineFragment(fragment) => aliases_in(&fragment.node.selection_set.node),
        Selection::FragmentSpread(_) => 0,
    };
    set.items.iter().map(|selection| count(&selection.node)).sum()
}
