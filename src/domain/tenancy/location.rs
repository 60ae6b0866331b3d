//! Where a tenant's documents are stored.

use super::Slug;

/// The collection that holds a tenant's documents.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    /// The cluster's name in the settings.
    pub cluster: String,
    /// The database in that cluster.
    pub database: String,
    /// The collection in that database: `org_<slug>`.
    pub collection: String,
}

impl Location {
    /// The prefix of every tenant collection.
    pub const COLLECTION_PREFIX: &'static str = "org_";

    /// The same cluster and database, with the collection name of `slug`.
    #[must_use]
    pub fn renamed_to(&self, slug: &Slug) -> Self {
        Self { collection: Self::collection_for(slug), ..self.clone() }
    }

    /// The collection name of `slug`.
    #[must_use]
    pub fn collection_for(slug: &Slug) -> String {
        format!("{}{}", Self::COLLECTION_PREFIX, slug.as_str())
    }
}
